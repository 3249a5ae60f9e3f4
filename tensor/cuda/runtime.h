// The device this process works on: its stream, its errors, the operations' working memory.
//
// All operations run on one stream, in the order in which they are called. So working memory needs no locks and no
// lifetimes beyond the call: what one operation leaves in it the next one may overwrite.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <string>

#include "base/error.h"

namespace headroom::cuda {

// The stream of all operations; made when first asked for.
cudaStream_t stream();

// Throws ExitCode::internal (ExitCode::out_of_memory where that is the reason) naming `call`.
void check(cudaError_t result, const char* call);

// Facts about the device that launches are cut to.
struct DeviceFacts {
  int multiprocessors = 1;
  std::size_t shared_bytes_per_block = 48 << 10;  // the most a kernel may be given (opt-in)
};
const DeviceFacts& device_facts();

// Working memory for one operation:
//   Scratch scratch;
//   float* partial = scratch.take<float>(blocks * columns);
// Pointers are 256-byte aligned and good until the operation has run. Contents are whatever was there. Taking more than
// there is grows the backend's own memory, or throws ExitCode::internal when a run's arena set the limit.
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <class T>
  T* take(std::int64_t count) {
    return static_cast<T*>(bytes(static_cast<std::size_t>(count) * sizeof(T)));
  }

 private:
  void* bytes(std::size_t count);
  std::size_t used_ = 0;
};

// Working memory an arena should hold for the operations of a run; see Backend::set_workspace.
std::size_t workspace_bytes();
void set_workspace(void* memory, std::size_t bytes);

}  // namespace headroom::cuda
