// What a kernel must not do is reported, with the kernel, the block, the thread and the line.
#include "tensor/cuda/device_code.h"
#include "tests/emulation/launching.h"

namespace headroom::cuda {
namespace {

using testing::AllOf;
using testing::HasSubstr;

__global__ void leaves_before_the_barrier() {
  if (blockIdx.x == 1 && threadIdx.x == 5) return;
  __syncthreads();
}
__global__ void takes_another_barrier() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
__global__ void lane_stays_away() {
  if (threadIdx.x != 7) __syncwarp();
}
__global__ void lane_waits_elsewhere() {
  if (threadIdx.x == 7) __syncthreads();
  __shfl_xor_sync(kAllLanes, 1, 1);
  if (threadIdx.x != 7) __syncthreads();
}
__global__ void lanes_disagree_about_the_mask() {
  __ballot_sync(threadIdx.x < 16 ? 0xffffffffU : 0xffff0000U, 1);
}
__global__ void lanes_disagree_about_the_operation() {
  if (threadIdx.x < 16) {
    __ballot_sync(kAllLanes, 1);
  } else {
    __shfl_sync(kAllLanes, 1, 0);
  }
}
__global__ void mask_names_no_lane() {
  __shfl_xor_sync(kAllLanes, 1, 1);
}
__global__ void mask_lacks_the_lane_itself() {
  __syncwarp(0xfU);
}

TEST(Faults, barriers_that_not_all_threads_reach) {
  EXPECT_THAT(fault_of({3, 64}, leaves_before_the_barrier),
              AllOf(HasSubstr("kernel leaves_before_the_barrier, block (1, 0, 0), thread (0, 0, 0)"),
                    HasSubstr("the barrier of faults_test.cpp:"), HasSubstr("thread (5, 0, 0) has left the kernel")));
  EXPECT_THAT(fault_of({1, 64}, takes_another_barrier),
              AllOf(HasSubstr("thread (32, 0, 0): comes to the barrier of faults_test.cpp:"),
                    HasSubstr("while thread (0, 0, 0) waits at that of faults_test.cpp:")));
}

TEST(Faults, lanes_that_do_not_come) {
  EXPECT_THAT(fault_of({1, 32}, lane_stays_away), HasSubstr("for lane 7, which has left the kernel"));
  EXPECT_THAT(fault_of({1, 32}, lane_waits_elsewhere), HasSubstr("for lane 7, which waits at the barrier"));
  EXPECT_THAT(fault_of({1, 32}, lanes_disagree_about_the_mask), HasSubstr("with mask 0xffffffff"));
  EXPECT_THAT(fault_of({1, 32}, lanes_disagree_about_the_operation), HasSubstr("calls a shuffle with mask"));
  EXPECT_THAT(fault_of({1, 40}, mask_names_no_lane), HasSubstr("its warp has 8 lanes"));
  EXPECT_THAT(fault_of({1, 32}, mask_lacks_the_lane_itself), HasSubstr("without its own lane"));
}

TEST(Faults, do_not_hinder_the_next_launch) {
  fault_of({1, 64}, leaves_before_the_barrier);
  EXPECT_THAT(fault_of({2, 64}, leaves_before_the_barrier), HasSubstr("block (1, 0, 0)"));
  EXPECT_EQ(run({1, 64}, leaves_before_the_barrier), cudaSuccess);
}

// ---- memory --------------------------------------------------------------------------------------------------------

__global__ void write(float* numbers, int offset) {
  numbers[static_cast<int>(threadIdx.x) + offset] = 1.0F;
}
__global__ void read(const float* numbers, int offset, float* out) {
  out[threadIdx.x] = numbers[static_cast<int>(threadIdx.x) + offset];
}
__global__ void index_out_of_shared(float* out, int index) {
  __shared__ float shared[8];
  shared[index] = 1.0F;
  out[0] = shared[7];
}
__global__ void write_dynamic_shared(int index) {
  dynamic_shared<float>()[index] = 1.0F;
}
__global__ void read_fresh_shared(float* out) {
  __shared__ float shared[2];
  out[0] = shared[1];
  out[1] = dynamic_shared<float>()[3];
  shared[1] = 2.0F;
  dynamic_shared<float>()[3] = 2.0F;
}
__device__ int descend(int depth, volatile int* out) {
  volatile int here[1000];
  here[depth % 1000] = depth;
  *out = here[depth % 1000];
  return depth == 0 ? 0 : 1 + descend(depth - 1, out) + here[depth % 1000];
}
__global__ void use_up_the_stack(int* out) {
  *out = descend(10000, out);
}

class Memory : public testing::Test {
 protected:
  Memory() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};
using MemoryDeathTest = Memory;

TEST_F(MemoryDeathTest, ends_at_guard_pages) {
  DeviceArray<float> numbers(64);
  EXPECT_DEATH(
      run({1, 32}, write, numbers.data(), 33),
      "access to 0 bytes behind the end of a block of 256 bytes: kernel write, block .0, 0, 0., thread .31, 0, 0.");
  DeviceArray<float> out(32);
  DeviceArray<float> page(1024);  // begins at a page
  EXPECT_DEATH(run({1, 32}, read, page.data(), -1, out.data()),
               "access to 4 bytes before a block of 4096 bytes: kernel read");
  EXPECT_DEATH(run({1, 1}, write, static_cast<float*>(nullptr), 0), "which is no device memory: kernel write");
}

TEST_F(MemoryDeathTest, is_checked_beside_the_block_when_freed) {
  EXPECT_DEATH(
      {
        DeviceArray<float> numbers(3);
        run({1, 1}, write, numbers.data(), 3);
      },
      "somebody wrote 0 bytes behind the end of a block of 12 bytes");
  EXPECT_DEATH(
      {
        DeviceArray<float> numbers(3);
        run({1, 1}, write, numbers.data(), -1);
      },
      "somebody wrote 4 bytes before a block of 12 bytes");
}

TEST_F(MemoryDeathTest, is_gone_when_freed) {
  float* stale = nullptr;
  {
    DeviceArray<float> numbers(100);
    stale = numbers.data();
  }
  EXPECT_DEATH(run({1, 1}, write, stale, 10), "access to byte 40 of a freed block of 400 bytes: kernel write");
}

TEST_F(MemoryDeathTest, ends_where_arrays_do) {
  DeviceArray<float> out(1);
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the sanitizer's own message";
#endif
  EXPECT_DEATH(run({1, 1}, index_out_of_shared, out.data(), 8),
               "an index outside of its array.*kernel index_out_of_shared");
}

TEST_F(MemoryDeathTest, has_an_end_for_stacks) {
  DeviceArray<int> out(1);
  EXPECT_DEATH(run({1, 1}, use_up_the_stack, out.data()), "a thread has used up its stack: kernel use_up_the_stack");
}

TEST_F(Memory, of_a_block_is_as_large_as_asked_for) {
  EXPECT_EQ(run({1, 1, 400}, write_dynamic_shared, 99), cudaSuccess);
  EXPECT_THAT(fault_of({1, 1, 400}, write_dynamic_shared, 100),
              HasSubstr("somebody wrote byte 400 of 400 bytes of dynamic shared memory"));
}

TEST_F(Memory, is_nan_until_written) {
  float* fresh = nullptr;
  ASSERT_EQ(cudaMalloc(&fresh, 4), cudaSuccess);
  EXPECT_TRUE(std::isnan(*fresh));
  cudaFree(fresh);
  DeviceArray<float> out(2);
  ASSERT_EQ(run({3, 1, 16}, read_fresh_shared, out.data()), cudaSuccess);
  EXPECT_TRUE(std::isnan(out[0]));
  EXPECT_TRUE(std::isnan(out[1]));
}

TEST_F(Memory, is_copied_within_blocks_only) {
  DeviceArray<float> numbers(4, 1.0F);
  std::vector<float> host(8);
  EXPECT_EQ(cudaMemcpy(host.data(), numbers.data(), 16, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_EQ(host[3], 1.0F);
  EXPECT_EQ(cudaMemcpy(host.data(), numbers.data(), 20, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host.data(), numbers.data(), 16, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(host.data(), 0, 16), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(Memory, is_limited) {
  std::size_t available = 0;
  std::size_t total = 0;
  ASSERT_EQ(cudaMemGetInfo(&available, &total), cudaSuccess);
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, available + 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(memory, nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
}

__global__ void nothing() {}

TEST(Launches, have_a_devices_limits) {
  EXPECT_EQ(run({1, 1024}, nothing), cudaSuccess);
  EXPECT_EQ(run({1, 1025}, nothing), cudaErrorInvalidConfiguration);
  EXPECT_EQ(run({dim3(1, 65536), 1}, nothing), cudaErrorInvalidConfiguration);
  EXPECT_EQ(run({0, 1}, nothing), cudaErrorInvalidConfiguration);
  EXPECT_EQ(run({1, 1, 49 << 10}, nothing), cudaErrorInvalidValue);
  const auto* kernel = reinterpret_cast<const void*>(nothing);
  EXPECT_EQ(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 228 << 10),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 100 << 10), cudaSuccess);
  EXPECT_EQ(run({1, 1, 100 << 10}, nothing), cudaSuccess);
  cudaGetLastError();
}

// ---- order ---------------------------------------------------------------------------------------------------------

// Lacks a barrier: right only if the threads run from the last to the first.
__global__ void shift_without_barrier(int* out) {
  __shared__ int shared[64];
  shared[threadIdx.x] = static_cast<int>(threadIdx.x);
  out[threadIdx.x] = shared[threadIdx.x < 63 ? threadIdx.x + 1 : 63];
}
// Lacks a barrier after the reading: the next round may overwrite what others have yet to read.
__global__ void rounds_without_second_barrier(int* out) {
  __shared__ int shared;
  int sum = 0;
  for (int round = 0; round < 4; ++round) {
    if (threadIdx.x == 0) shared = round;
    __syncthreads();
    sum += shared;
  }
  out[threadIdx.x] = sum;
}
// Blocks have no order either.
__global__ void numbered_by_arrival(int* out, int* arrived) {
  out[blockIdx.x] = atomicAdd(arrived, 1);
}

std::vector<int> result_in(emulation::Order order, void (*kernel)(int*)) {
  emulation::set_order(order);
  DeviceArray<int> out(64);
  EXPECT_EQ(run({1, 64}, kernel, out.data()), cudaSuccess);
  emulation::set_order({});
  return out.values();
}

TEST(Order, shows_a_missing_barrier) {
  using Kind = emulation::Order::Kind;
  for (const auto kernel : {shift_without_barrier, rounds_without_second_barrier}) {
    EXPECT_NE(result_in({Kind::forward}, kernel), result_in({Kind::reverse}, kernel));
    EXPECT_NE(result_in({Kind::forward}, kernel), result_in({Kind::shuffled, 1}, kernel));
  }
}

TEST(Order, of_blocks_is_an_option_too_and_a_function_of_the_seed) {
  using Kind = emulation::Order::Kind;
  const auto result = [](emulation::Order order) {
    emulation::set_order(order);
    DeviceArray<int> out(20);
    DeviceArray<int> arrived(1);
    EXPECT_EQ(run({20, 1}, numbered_by_arrival, out.data(), arrived.data()), cudaSuccess);
    emulation::set_order({});
    return out.values();
  };
  EXPECT_EQ(result({Kind::forward})[0], 0);
  EXPECT_EQ(result({Kind::reverse})[0], 19);
  EXPECT_EQ(result({Kind::shuffled, 1}), result({Kind::shuffled, 1}));
  EXPECT_NE(result({Kind::shuffled, 1}), result({Kind::shuffled, 2}));
}

}  // namespace
}  // namespace headroom::cuda
