// Where tests have their tensors and how those are exchanged: host memory by MPI; a GPU's through host memory; a GPU's
// by NCCL. What the machine lacks is skipped, saying why. HEADROOM_CUDA_LIBRARY may name a GPU backend that needs no
// GPU: the emulated device, or the fake one of tests/parallel/fake_gpu.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "parallel/device_communicator.h"
#include "tensor/memory.h"
#include "tensor/transfer.h"
#include "tests/mpi_world.h"
#include "tests/needs_gpu.h"
#include "tests/parallel/numbers.h"

namespace headroom {

// Why this machine has no GPU for every rank, or nothing; selects one. Collective at its first call.
const std::optional<std::string>& why_no_gpu_for_all();
// Why NCCL cannot exchange the ranks' tensors, or nothing. Collective at its first call.
const std::optional<std::string>& why_no_nccl_for_all();

struct OnHost {
  static constexpr const char* kName = "OnHost";
  static constexpr Device kDevice = Device::cpu;
  static constexpr Transport kTransport = Transport::automatic;
  static constexpr bool kRankOrder = true;  // of sums
  static std::optional<std::string> missing() { return std::nullopt; }
};
struct Staged {
  static constexpr const char* kName = "Staged";
  static constexpr Device kDevice = Device::cuda;
  static constexpr Transport kTransport = Transport::staged;
  static constexpr bool kRankOrder = true;
  static std::optional<std::string> missing() { return why_no_gpu_for_all(); }
};
struct OverNccl {
  static constexpr const char* kName = "OverNccl";
  static constexpr Device kDevice = Device::cuda;
  static constexpr Transport kTransport = Transport::nccl;
  static constexpr bool kRankOrder = false;
  static std::optional<std::string> missing() {
    return why_no_gpu_for_all() ? why_no_gpu_for_all() : why_no_nccl_for_all();
  }
};

using Places = testing::Types<OnHost, Staged, OverNccl>;

struct PlaceNames {
  template <class Place>
  static std::string GetName(int) {  // NOLINT(readability-identifier-naming): GoogleTest's name
    return Place::kName;
  }
};

// A fixture with the place's communicator of all ranks; skips the test where the place is missing.
template <class Place>
class AtPlace : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::optional<std::string> missing = Place::missing()) {
      // NCCL may be missing beside a GPU, and is beside the emulated one.
      const bool without_gpu = Place::kDevice == Device::cuda && why_no_gpu_for_all().has_value();
      if (without_gpu && gpu_is_expected()) FAIL() << *missing;
      GTEST_SKIP() << *missing;
    }
    world_ = for_device(test_runtime().world(), Place::kDevice, Place::kTransport).communicator;
    rank_ = world_->rank();
    size_ = world_->size();
  }

  std::unique_ptr<Communicator> world_;
  int rank_ = 0;
  int size_ = 1;
};

// Numbers in a device's memory.
template <class T>
class Placed {
 public:
  Placed(const std::vector<T>& values, Device device)
      : memory_(values.size() * sizeof(T), device, "a test"),
        tensor_(memory_.tensor({static_cast<std::int64_t>(values.size())}, dtype_of<T>())) {
    upload(std::span<const T>(values), tensor_);
  }

  const Tensor& tensor() const { return tensor_; }
  std::vector<T> values() const { return download<T>(tensor_); }

 private:
  Buffer memory_;
  Tensor tensor_;
};

// `count` numbers that no collective makes.
template <class T>
Placed<T> unwritten(std::int64_t count, Device device) {
  return Placed<T>(std::vector<T>(static_cast<std::size_t>(count), T(-1.0F)), device);
}

// A sum over the ranks: in rank order to the bit, in another order to the rounding of all its steps.
template <class Place, class T>
testing::AssertionResult is_sum(const std::vector<T>& actual, const std::vector<T>& expected, int ranks) {
  if constexpr (Place::kRankOrder || std::is_integral_v<T>) {
    return same_bits(actual, expected);
  } else {
    return about_equal(actual, expected, static_cast<double>(ranks) * kLargestNumber * unit_roundoff<T>() * ranks);
  }
}

}  // namespace headroom
