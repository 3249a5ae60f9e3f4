// What the GPU backend's library exports of NCCL, for the program to find by name (gpu_library_symbol of
// tensor/backend.h). Both are there only in a library that was compiled with NCCL.
#pragma once

#include <memory>

#include "parallel/communicator.h"

extern "C" {

// Why NCCL cannot be used here, or null if it can. The text stays.
const char* headroom_why_no_nccl();

// Replaces a host communicator of several ranks by one that exchanges GPU tensors by NCCL and gives control messages
// to the former. Collective. `abort_ranks` ends every rank of the job with an exit status; it is called from another
// thread when a collective fails or hangs. Throws ExitCode::communication when NCCL fails.
void headroom_wrap_in_nccl(std::unique_ptr<headroom::Communicator>* communicator, void (*abort_ranks)(int status));
}
