// What the fake device adds to CUDA's functions: work of any kind in a stream.
#pragma once

#include <cuda_runtime.h>

#include <functional>

namespace headroom::fake {

// Runs after what is in the stream already, in the stream's thread.
void enqueue(cudaStream_t stream, std::function<void()> work);

// Returns when everything in the stream so far has run.
void synchronize(cudaStream_t stream);

}  // namespace headroom::fake
