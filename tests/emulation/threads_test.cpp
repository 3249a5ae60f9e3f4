// Threads, barriers, warps: kernels with a known result, in every order of threads.
#include <numeric>

#include "tensor/cuda/device_code.h"
#include "tests/emulation/launching.h"

namespace headroom::cuda {
namespace {

__global__ void indices(unsigned* out) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] = block * 1000 + thread;
}

// Sums by a tree in shared memory: ten barriers.
__global__ void tree_sum(const float* x, float* out) {
  __shared__ float parts[1024];
  const unsigned thread = threadIdx.x;
  parts[thread] = x[blockIdx.x * blockDim.x + thread];
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) parts[thread] += parts[thread + half];
  }
  if (thread == 0) out[blockIdx.x] = parts[0];
}

__global__ void sums_of_device_code(const float* x, float* sum, float* largest) {
  __shared__ float shared[kWarp];
  const float total = over_block(x[threadIdx.x], shared, Sum{});
  const float most = over_block(x[threadIdx.x], shared, Max{});
  sum[threadIdx.x] = total;
  largest[threadIdx.x] = most;
}

__global__ void rotate_by_dynamic_shared(int* numbers) {
  int* const shared = dynamic_shared<int>();
  shared[threadIdx.x] = numbers[threadIdx.x];
  __syncthreads();
  numbers[threadIdx.x] = shared[(threadIdx.x + 1) % blockDim.x];
}

__global__ void block_votes(int* any, int* all, int* count) {
  const int odd = static_cast<int>(threadIdx.x % 2);
  any[threadIdx.x] = __syncthreads_or(threadIdx.x == 40 ? 1 : 0);
  all[threadIdx.x] = __syncthreads_and(odd);
  count[threadIdx.x] = __syncthreads_count(odd);
}

class Threads : public InEveryOrder {};
INSTANTIATE_TEST_SUITE_P(Orders, Threads, kOrders);

TEST_P(Threads, know_where_they_are) {
  DeviceArray<unsigned> out(6 * 24);
  ASSERT_EQ(run({dim3(3, 1, 2), dim3(4, 3, 2)}, indices, out.data()), cudaSuccess);
  for (unsigned block = 0; block < 6; ++block) {
    for (unsigned thread = 0; thread < 24; ++thread) EXPECT_EQ(out[block * 24 + thread], block * 1000 + thread);
  }
}

TEST_P(Threads, meet_at_barriers) {
  DeviceArray<float> x(3 * 1024, 0.5F);
  DeviceArray<float> out(3);
  ASSERT_EQ(run({3, 1024}, tree_sum, x.data(), out.data()), cudaSuccess);
  EXPECT_THAT(out.values(), testing::Each(512.0F));
}

TEST_P(Threads, sum_over_blocks_with_shuffles) {
  DeviceArray<float> x(160);
  for (int i = 0; i < 160; ++i) x.data()[i] = static_cast<float>((i * 7) % 160);
  DeviceArray<float> sum(160);
  DeviceArray<float> largest(160);
  ASSERT_EQ(run({1, 160}, sums_of_device_code, x.data(), sum.data(), largest.data()), cudaSuccess);
  EXPECT_THAT(sum.values(), testing::Each(159.0F * 80.0F));
  EXPECT_THAT(largest.values(), testing::Each(159.0F));
}

TEST_P(Threads, share_dynamic_memory) {
  DeviceArray<int> numbers(300);
  std::iota(numbers.data(), numbers.data() + 300, 0);
  ASSERT_EQ(run({1, 300, 300 * sizeof(int)}, rotate_by_dynamic_shared, numbers.data()), cudaSuccess);
  for (int i = 0; i < 300; ++i) EXPECT_EQ(numbers[static_cast<std::size_t>(i)], (i + 1) % 300);
}

TEST_P(Threads, vote_at_barriers) {
  DeviceArray<int> any(66);
  DeviceArray<int> all(66);
  DeviceArray<int> count(66);
  ASSERT_EQ(run({1, 66}, block_votes, any.data(), all.data(), count.data()), cudaSuccess);
  EXPECT_THAT(any.values(), testing::Each(1));
  EXPECT_THAT(all.values(), testing::Each(0));
  EXPECT_THAT(count.values(), testing::Each(33));
}

// ---- warps ---------------------------------------------------------------------------------------------------------

__global__ void shuffles(int* up, int* down, int* exclusive, int* index, double* wide) {
  const int lane = static_cast<int>(threadIdx.x);
  up[lane] = __shfl_up_sync(kAllLanes, lane, 3, 8);
  down[lane] = __shfl_down_sync(kAllLanes, lane, 3, 8);
  exclusive[lane] = __shfl_xor_sync(kAllLanes, lane, 5);
  index[lane] = __shfl_sync(kAllLanes, lane, lane * 3);
  wide[lane] = __shfl_xor_sync(kAllLanes, 0.5 + lane, 16);
}

// Lanes of an odd mask exchange while the others do something else.
__global__ void odd_mask(int* out, unsigned mask) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if ((mask >> lane & 1U) != 0) {
    int sum = 0;
    for (int other = 0; other < kWarp; ++other) {
      if ((mask >> other & 1U) != 0) sum += __shfl_sync(mask, lane, other);
    }
    out[threadIdx.x] = sum;
  } else {
    out[threadIdx.x] = static_cast<int>(__ballot_sync(~mask, lane % 2));
  }
}

__global__ void votes(unsigned* ballot, int* any, int* all, unsigned* match, int* reduced) {
  const int lane = static_cast<int>(threadIdx.x);
  ballot[lane] = __ballot_sync(kAllLanes, lane % 3 == 0);
  any[lane] = __any_sync(kAllLanes, lane == 9);
  all[lane] = __all_sync(kAllLanes, lane < 32);
  match[lane] = __match_any_sync(kAllLanes, lane % 4);
  reduced[lane] = __reduce_max_sync(kAllLanes, lane - 40) + __reduce_add_sync(kAllLanes, -1);
}

// Without a value of the lane itself or of a lane outside of the mask a result means nothing; here it is a NaN.
__global__ void from_outside(float* out) {
  out[threadIdx.x] = threadIdx.x < 4 ? __shfl_sync(0xfU, 1.0F, static_cast<int>(threadIdx.x) + 2) : 0.0F;
}

class Warps : public InEveryOrder {};
INSTANTIATE_TEST_SUITE_P(Orders, Warps, kOrders);

TEST_P(Warps, shuffle) {
  DeviceArray<int> up(32);
  DeviceArray<int> down(32);
  DeviceArray<int> exclusive(32);
  DeviceArray<int> index(32);
  DeviceArray<double> wide(32);
  ASSERT_EQ(run({1, 32}, shuffles, up.data(), down.data(), exclusive.data(), index.data(), wide.data()), cudaSuccess);
  for (int lane = 0; lane < 32; ++lane) {
    const auto i = static_cast<std::size_t>(lane);
    EXPECT_EQ(up[i], lane % 8 < 3 ? lane : lane - 3);
    EXPECT_EQ(down[i], lane % 8 < 5 ? lane + 3 : lane);
    EXPECT_EQ(exclusive[i], lane ^ 5);
    EXPECT_EQ(index[i], lane * 3 % 32);
    EXPECT_EQ(wide[i], 0.5 + (lane ^ 16));
  }
}

TEST_P(Warps, exchange_within_odd_masks) {
  DeviceArray<int> out(64);
  const unsigned mask = 0x80010091U;  // lanes 0, 4, 7, 16, 31
  ASSERT_EQ(run({1, 64}, odd_mask, out.data(), mask), cudaSuccess);
  for (unsigned thread = 0; thread < 64; ++thread) {
    const bool in_mask = (mask >> thread % 32 & 1U) != 0;
    EXPECT_EQ(out[thread], in_mask ? 0 + 4 + 7 + 16 + 31 : static_cast<int>(~mask & 0xaaaaaaaaU)) << thread;
  }
}

TEST_P(Warps, vote_and_reduce) {
  DeviceArray<unsigned> ballot(32);
  DeviceArray<int> any(32);
  DeviceArray<int> all(32);
  DeviceArray<unsigned> match(32);
  DeviceArray<int> reduced(32);
  ASSERT_EQ(run({1, 32}, votes, ballot.data(), any.data(), all.data(), match.data(), reduced.data()), cudaSuccess);
  EXPECT_THAT(ballot.values(), testing::Each(0x49249249U));
  EXPECT_THAT(any.values(), testing::Each(1));
  EXPECT_THAT(all.values(), testing::Each(1));
  for (unsigned lane = 0; lane < 32; ++lane) EXPECT_EQ(match[lane], 0x11111111U << lane % 4);
  EXPECT_THAT(reduced.values(), testing::Each(-9 - 32));
}

TEST_P(Warps, get_a_nan_from_lanes_that_bring_nothing) {
  DeviceArray<float> out(32);
  ASSERT_EQ(run({1, 32}, from_outside, out.data()), cudaSuccess);
  EXPECT_EQ(out[0], 1.0F);
  EXPECT_EQ(out[1], 1.0F);
  EXPECT_TRUE(std::isnan(out[2]));
  EXPECT_TRUE(std::isnan(out[3]));
}

// ---- atomics -------------------------------------------------------------------------------------------------------

__global__ void atomics(unsigned* counts, unsigned long long* largest, int* least, int* exchanged) {
  atomicAdd(&counts[threadIdx.x % 4], 1U);
  atomicMax(largest, static_cast<unsigned long long>((threadIdx.x * 37) % 100) << 40);
  atomicMin(least, 50 - static_cast<int>(threadIdx.x));
  if (atomicCAS(exchanged, 0, 1) == 0) atomicExch(exchanged, 7);
}

TEST_P(Threads, count_with_atomics) {
  DeviceArray<unsigned> counts(4);
  DeviceArray<unsigned long long> largest(1);
  DeviceArray<int> least(1, 1000);
  DeviceArray<int> exchanged(1);
  ASSERT_EQ(run({2, 100}, atomics, counts.data(), largest.data(), least.data(), exchanged.data()), cudaSuccess);
  EXPECT_THAT(counts.values(), testing::Each(50U));
  EXPECT_EQ(largest[0], 99ULL << 40);
  EXPECT_EQ(least[0], -49);
  EXPECT_EQ(exchanged[0], 7);
}

}  // namespace
}  // namespace headroom::cuda
