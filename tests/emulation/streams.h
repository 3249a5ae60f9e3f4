// What streams are asked to do, and when they do it: at once, or as late as a GPU might, when somebody waits for it.
//
// Late streams show what a program gets away with while the device is fast: reading a result without waiting for it,
// changing what a copy has yet to read. HEADROOM_EMULATION_STREAMS=late has them; otherwise they work at once.
#pragma once

#include <cuda_runtime.h>

#include <functional>

namespace headroom::emulation {

void set_late_streams(bool late);

// Gives the stream work that follows all it was given before. Work may throw: it then does so where it is done, which
// is here or where somebody waits.
void submit(cudaStream_t stream, std::function<void()> work);

// Lets the stream, or all of them, do everything that it was given.
void finish(cudaStream_t stream);
void finish_all();

}  // namespace headroom::emulation
