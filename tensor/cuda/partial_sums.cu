// The second half of sums over rows. groups * columns * 4 bytes, mostly still in the second-level cache; next to what
// made them (rows * columns * 6 to 8 bytes, some 50 rows a group) a few percent. What counts here is latency: so 32
// warps share the groups of 32 columns, with eight loads on their way each.
#include "tensor/cuda/partial_sums.h"

#include "tensor/cuda/device_code.h"

namespace headroom::cuda {
namespace {

constexpr int kSlices = 32;
constexpr std::size_t kMostSums = 3;

struct Job {
  PartialSums sums[kMostSums];
};

// blockIdx.x: 32 columns, blockIdx.y: which of the sums. Slice s adds groups s, s + kSlices, ...; then the slices are
// added in their order.
__global__ void __launch_bounds__(kWarp* kSlices) add_partial_sums_kernel(Job job, int groups) {
  __shared__ float shared[kSlices][kWarp];
  // By name: an array of parameters indexed at run time would be copied to the thread's stack.
  const PartialSums sums = blockIdx.y == 0 ? job.sums[0] : (blockIdx.y == 1 ? job.sums[1] : job.sums[2]);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int slice = static_cast<int>(threadIdx.x) / kWarp;
  const std::int64_t column = std::int64_t{blockIdx.x} * kWarp + lane;
  const bool mine = column < sums.columns && sums.out != nullptr;
  float total = 0.0F;
  if (mine) {
#pragma unroll 8
    for (int group = slice; group < groups; group += kSlices) {
      total += sums.partials[group * sums.columns + column];
    }
  }
  shared[slice][lane] = total;
  __syncthreads();
  if (slice == 0 && mine) {
    for (int other = 1; other < kSlices; ++other) total += shared[other][lane];
    sums.out[column] += total;
  }
}

}  // namespace

void add_partial_sums(std::int64_t groups, std::initializer_list<PartialSums> sums) {
  HEADROOM_CHECK(sums.size() <= kMostSums, "{} sums at once", sums.size());
  if (groups == 0) return;
  Job job{};
  std::copy(sums.begin(), sums.end(), job.sums);
  std::int64_t columns = 0;
  for (const PartialSums& one : sums) columns = std::max(columns, one.columns);
  const Grid grid{dim3(extent(pieces(columns, kWarp)), static_cast<unsigned>(sums.size())), dim3(kWarp * kSlices)};
  launch("add_partial_sums", add_partial_sums_kernel, grid, job, static_cast<int>(groups));
}

}  // namespace headroom::cuda
