// What the emulator's own tests need: arrays in device memory and a short way to run a kernel.
#pragma once

#include <cuda_runtime.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/emulation/fault.h"
#include "tests/emulation/scheduler.h"

namespace headroom::cuda {

// The emulator shows what is in device memory to anyone; on a GPU this would need copies.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t count, T value = {}) : count_(count) {
    EXPECT_EQ(cudaMalloc(&numbers_, count * sizeof(T)), cudaSuccess);
    for (std::size_t i = 0; i < count; ++i) numbers_[i] = value;
  }
  ~DeviceArray() { cudaFree(numbers_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() { return numbers_; }
  T operator[](std::size_t i) const { return numbers_[i]; }
  std::vector<T> values() const { return {numbers_, numbers_ + count_}; }

 private:
  T* numbers_ = nullptr;
  std::size_t count_;
};

struct Extent {
  dim3 blocks = 1;
  dim3 threads = 1;
  std::size_t shared_bytes = 0;
};
template <class... Parameters, class... Arguments>
cudaError_t run(const Extent& extent, void (*kernel)(Parameters...), Arguments&&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = extent.blocks;
  config.blockDim = extent.threads;
  config.dynamicSmemBytes = extent.shared_bytes;
  return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(std::forward<Arguments>(arguments))...);
}

// What the emulator says of a launch that it must refuse.
template <class... Parameters, class... Arguments>
std::string fault_of(const Extent& extent, void (*kernel)(Parameters...), Arguments&&... arguments) {
  try {
    run(extent, kernel, std::forward<Arguments>(arguments)...);
  } catch (const emulation::Fault& fault) {
    return fault.what();
  }
  return "no fault";
}

// A test that is run in every order of threads.
class InEveryOrder : public testing::TestWithParam<emulation::Order> {
 protected:
  void SetUp() override { emulation::set_order(GetParam()); }
  void TearDown() override { emulation::set_order({}); }
};
inline const auto kOrders = testing::Values(
    emulation::Order{emulation::Order::Kind::forward}, emulation::Order{emulation::Order::Kind::reverse},
    emulation::Order{emulation::Order::Kind::shuffled, 1}, emulation::Order{emulation::Order::Kind::shuffled, 2});

}  // namespace headroom::cuda
