// The host's side of the GPU backend: memory, copies, working memory, errors, launches.
#include <cstdlib>
#include <numeric>

#include "tensor/cuda/device.h"
#include "tensor/cuda/launch.h"
#include "tensor/cuda/memory.h"
#include "tests/emulation/launching.h"

namespace headroom::cuda {
namespace {

using testing::HasSubstr;

// As on a GPU: one stretch of working memory instead of a block for every take.
[[maybe_unused]] const int one_stretch = setenv("HEADROOM_SCRATCH_BLOCKS", "0", 1);

template <class Call>
std::pair<ExitCode, std::string> error_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  return {ExitCode::done, "no error"};
}

TEST(Device, IsDescribed) {
  EXPECT_THAT(devices(), testing::ElementsAre("emulated device, 2.0 GiB, compute 9.0"));
  EXPECT_EQ(device_id(), "GPU-656d756c-6174-6564-2064-657669636500");
  EXPECT_TRUE(device_is_emulated());
  EXPECT_THAT(cuda_versions(), testing::ElementsAre("CUDA runtime 13.0", "CUDA driver 13.0"));
  EXPECT_EQ(device_facts().shared_bytes_per_block, std::size_t{227} << 10);
}

TEST(Device, MayNotBeThere) {
  setenv("HEADROOM_EMULATION_DEVICES", "0", 1);
  EXPECT_THAT(devices(), testing::IsEmpty());
  unsetenv("HEADROOM_EMULATION_DEVICES");
  EXPECT_EQ(devices().size(), 1U);
  EXPECT_THAT(error_of([] { select_device(3); }).second, HasSubstr("cudaSetDevice: invalid device ordinal"));
  select_device(0);
}

TEST(DeviceMemory, IsZeroedAndCounted) {
  const std::size_t before = peak_bytes();
  auto* const numbers = static_cast<int*>(allocate(4000));
  EXPECT_THAT(std::vector<int>(numbers, numbers + 1000), testing::Each(0));
  EXPECT_GE(peak_bytes(), 4000U);
  release(numbers);
  const std::size_t peak = peak_bytes();
  release(allocate(1000));
  EXPECT_EQ(peak_bytes(), std::max(before, peak));
  release(nullptr);
  void* const nothing = allocate(0);
  EXPECT_NE(nothing, nullptr);
  release(nothing);
}

TEST(DeviceMemory, RunsOutWithoutAnError) {
  EXPECT_EQ(allocate(available_bytes() + 1), nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

// Several times what is under way at once.
TEST(DeviceMemory, CopiesOfAnySizeArrive) {
  for (const std::size_t count : {std::size_t{1}, (std::size_t{4} << 20), (std::size_t{41} << 20) + 13}) {
    std::vector<unsigned char> sent(count);
    for (std::size_t i = 0; i < count; ++i) sent[i] = static_cast<unsigned char>(i * 2654435761U >> 11);
    void* const memory = allocate(count);
    upload(sent.data(), memory, count);
    std::vector<unsigned char> received(count);
    download(memory, received.data(), count);
    EXPECT_TRUE(sent == received) << count;
    release(memory);
  }
  float* const memory = static_cast<float*>(allocate(16));
  const std::vector<float> sent(5);
  EXPECT_EQ(error_of([&] { upload(sent.data(), memory, 20); }).first, ExitCode::internal);
  release(memory);
}

bool aligned(const void* memory) {
  return reinterpret_cast<std::uintptr_t>(memory) % 16 == 0;  // of the emulated device; a GPU's are to 256 bytes
}

TEST(WorkingMemory, GrowsUnderAnOperationThatUsesIt) {
  const std::size_t before = available_bytes();
  {
    Scratch scratch;
    auto* const first = scratch.take<unsigned char>(1000);
    auto* const second = scratch.take<float>(10);
    EXPECT_EQ(reinterpret_cast<unsigned char*>(second), first + 1024);
    EXPECT_TRUE(aligned(first));
    std::fill(first, first + 1000, 1);
    auto* const large = scratch.take<unsigned char>(std::int64_t{40} << 20);
    std::fill(large, large + (std::size_t{40} << 20), 2);
    EXPECT_EQ(first[999], 1);
    // Behind the large one there is no room left, and what was skipped is not taken by the same operation.
    auto* const last = scratch.take<unsigned char>(1);
    EXPECT_FALSE(last >= first && last < first + (32 << 20));
    EXPECT_FALSE(last >= large && last < large + (40 << 20));
  }
  const std::size_t after = available_bytes();
  EXPECT_LT(after, before);
  Scratch scratch;
  scratch.take<unsigned char>(std::int64_t{40} << 20);
  EXPECT_EQ(available_bytes(), after) << "the next operation starts anew";
}

TEST(WorkingMemory, IsThatOfTheRunOnceGiven) {
  constexpr std::size_t kBytes = 4096;
  auto* const block = static_cast<std::byte*>(allocate(kBytes));
  const std::size_t before = available_bytes();
  { Scratch().take<float>(1); }
  set_workspace(block, kBytes);
  EXPECT_GE(available_bytes(), before) << "its own is given back";
  {
    Scratch scratch;
    EXPECT_EQ(scratch.take<std::byte>(2000), block);
    EXPECT_EQ(scratch.take<std::byte>(2048), block + 2048);
    const auto [code, message] = error_of([&] { scratch.take<std::byte>(1); });
    EXPECT_EQ(code, ExitCode::internal);
    EXPECT_THAT(message, HasSubstr("an operation needs 256 bytes of working memory after 4096 of 4096"));
  }
  set_workspace(nullptr, 0);
  EXPECT_NE(Scratch().take<std::byte>(2 * kBytes), nullptr);
  release(block);
}

TEST(WorkingMemory, IsAShareOfTheDevice) {
  EXPECT_EQ(workspace_bytes(), total_bytes() / 128);
}

__global__ void add(const float* x, float value, float* y) {
  y[threadIdx.x] = x[threadIdx.x] + value;
}

TEST(Launch, RunsConvertsAndChecks) {
  DeviceArray<float> x(32, 1.0F);
  DeviceArray<float> y(32);
  launch("add", add, {1, 32}, x.data(), 2, y.data());
  EXPECT_THAT(y.values(), testing::Each(3.0F));
  launch("add", add, {dim3(1, 0), 32}, x.data(), 9, y.data());  // nothing
  EXPECT_THAT(y.values(), testing::Each(3.0F));
  launch("add", add, {1, 32, 100 << 10}, x.data(), 3, y.data());  // asks for that much shared memory
  EXPECT_THAT(y.values(), testing::Each(4.0F));
  const auto [code, message] = error_of([&] { launch("add", add, {1, 2048}, x.data(), 2, y.data()); });
  EXPECT_EQ(code, ExitCode::internal);
  EXPECT_THAT(message, HasSubstr("add: invalid configuration argument (cudaErrorInvalidConfiguration)"));
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST(Errors, HaveTheirExitCode) {
  EXPECT_EQ(error_of([] { check(cudaSuccess, "x"); }).first, ExitCode::done);
  EXPECT_EQ(error_of([] { check(cudaErrorInvalidValue, "x"); }).first, ExitCode::internal);
  EXPECT_EQ(error_of([] { check(cudaErrorMemoryAllocation, "x"); }).first, ExitCode::out_of_memory);
}

}  // namespace
}  // namespace headroom::cuda
