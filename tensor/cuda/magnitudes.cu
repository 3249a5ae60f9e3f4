// The monitor's summaries of tensors that no operation passes anyway, and reading them. N b bytes for N elements of b
// bytes are read, nothing is written but the summary; some 20 integer operations and an atomic in shared memory an
// element, which for bf16 take about as long as the reading.
#include "tensor/cuda/magnitudes.h"

#include <bit>
#include <vector>

#include "tensor/cuda/chunk.h"
#include "tensor/cuda/launch.h"
#include "tensor/cuda/memory.h"
#include "tensor/cuda/table.h"

namespace headroom::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocks = 4;  // a multiprocessor
constexpr int kHeld = 4;

// first_place: of x[0].
template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads, kBlocks)
    summarize_kernel(const T* x, std::int64_t chunks, std::int64_t first_place, unsigned long long* summary) {
  __shared__ BlockMagnitudes seen;
  seen.begin();
  OwnMaximum largest;
  const std::int64_t step = std::int64_t{gridDim.x} * kThreads;
  for (std::int64_t chunk = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; chunk < chunks; chunk += kHeld * step) {
    Chunk<T, kWidth> held[kHeld];
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      held[k] = load_chunk<kWidth>(x + min(chunk + k * step, chunks - 1) * kWidth);
    }
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      if (chunk + k * step >= chunks) continue;
      const std::int64_t place = first_place + (chunk + k * step) * kWidth;
      seen.see<kWidth>([&](int i) { return static_cast<float>(held[k].at[i]); }, place, largest);
    }
  }
  seen.finish<T>(largest, summary);
}

void summarize_magnitudes(const Tensor& x, const Magnitudes& seen) {
  if (!seen.summary.present() || x.elements() == 0) return;
  const std::int64_t count = x.elements();
  dispatch("summarize_magnitudes", x.dtype(), [&]<class T>() {
    auto* summary = summary_address<T>("summarize_magnitudes", seen, x.rows(), x.columns());
    const auto run = [&]<int kWidth>(std::int64_t begin, std::int64_t chunks) {
      const std::int64_t filling = std::int64_t{device_facts().multiprocessors} * kBlocks;
      const Grid grid{dim3(extent(std::min(pieces(chunks, kThreads * kHeld), filling))), dim3(kThreads)};
      launch("summarize_magnitudes", summarize_kernel<T, kWidth>, grid, x.address<T>() + begin, chunks,
             seen.first_row * x.columns() + begin, summary);
    };
    const std::int64_t whole = aligned(x.raw()) ? count / Pack<T>::kSize : 0;
    const std::int64_t rest = whole * Pack<T>::kSize;
    run.template operator()<Pack<T>::kSize>(0, whole);
    run.template operator()<1>(rest, count - rest);
  });
}

MagnitudeSummary decoded(const std::int64_t* words, std::int64_t columns) {
  MagnitudeSummary summary;
  const std::int64_t place_bits = words[kPlaceBitsWord];
  if (place_bits == 0) return summary;
  const auto key = static_cast<std::uint64_t>(words[0]);
  const std::uint64_t places = (std::uint64_t{1} << place_bits) - 1;
  const auto place = static_cast<std::int64_t>(places - (key & places));
  const auto magnitude = static_cast<std::uint32_t>(key >> place_bits);
  summary.max_abs = std::bit_cast<float>(place_bits == kPlaceBits<bf16> ? magnitude << 16 : magnitude);
  summary.row = place / columns;
  summary.column = place % columns;
  std::copy_n(words + 1, MagnitudeSummary::kBins, summary.counts);
  return summary;
}

void read_summaries(const Tensor& summaries, std::int64_t columns, std::span<MagnitudeSummary> out) {
  const auto count = static_cast<std::int64_t>(out.size());
  expect("read_summaries", "summaries", summaries, DType::i64, count * MagnitudeSummary::kWords);
  HEADROOM_CHECK(columns > 0, "read_summaries: of tensors with {} columns", columns);
  if (out.empty()) return;
  std::vector<std::int64_t> words(static_cast<std::size_t>(summaries.elements()));
  download(summaries.raw(), words.data(), static_cast<std::size_t>(summaries.bytes()));
  for (std::int64_t i = 0; i < count; ++i) {
    out[static_cast<std::size_t>(i)] = decoded(words.data() + i * MagnitudeSummary::kWords, columns);
  }
}

}  // namespace

void fill_magnitudes(OpTable& table) {
  table.summarize_magnitudes = summarize_magnitudes;
  table.read_summaries = read_summaries;
}

}  // namespace headroom::cuda
