// Starting kernels. Through CUDA's typed launch function, so that the same source also runs where threads are fibers
// (tests/emulation).
#pragma once

#include <utility>

#include "tensor/cuda/runtime.h"

namespace headroom::cuda {

struct Grid {
  dim3 blocks;
  dim3 threads;
  std::size_t shared_bytes = 0;  // dynamic shared memory, see dynamic_shared() in tensor/cuda/device_code.h
};

// Runs kernel(arguments...) over the grid, on stream(). `name` is for messages. An empty grid does nothing.
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), const Grid& grid, Arguments&&... arguments) {
  if (grid.blocks.x == 0 || grid.blocks.y == 0 || grid.blocks.z == 0) return;
  constexpr std::size_t kWithoutAsking = 48 << 10;
  static std::size_t asked_for = kWithoutAsking;  // by kernels of these parameters' types
  static const void* asked_of = nullptr;
  if (grid.shared_bytes > kWithoutAsking &&
      (asked_of != reinterpret_cast<const void*>(kernel) || grid.shared_bytes > asked_for)) {
    HEADROOM_CHECK(grid.shared_bytes <= device_facts().shared_bytes_per_block,
                   "{} needs {} bytes of shared memory a block, this GPU has {}", name, grid.shared_bytes,
                   device_facts().shared_bytes_per_block);
    asked_of = reinterpret_cast<const void*>(kernel);
    asked_for = grid.shared_bytes;
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(grid.shared_bytes)),
          name);
  }
  cudaLaunchConfig_t config{};
  config.gridDim = grid.blocks;
  config.blockDim = grid.threads;
  config.dynamicSmemBytes = grid.shared_bytes;
  config.stream = stream();
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(std::forward<Arguments>(arguments))...), name);
}

// How many pieces of `step` cover `count`.
constexpr std::int64_t pieces(std::int64_t count, std::int64_t step) {
  return (count + step - 1) / step;
}

// As a grid's extent.
inline unsigned extent(std::int64_t count) {
  HEADROOM_CHECK(count >= 0 && count <= 0x7fffffff, "a grid of {} blocks", count);
  return static_cast<unsigned>(count);
}

}  // namespace headroom::cuda
