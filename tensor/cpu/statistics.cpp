// The monitor's one pass over a hidden state. It runs on every layer every step, so it works on the numbers' bits:
// without the sign bit, IEEE numbers order like integers, and their top bits are the histogram's bin.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/parallel_for.h"
#include "tensor/cpu/table.h"

namespace headroom::cpu {
namespace {

template <class T>
struct Bits;
template <>
struct Bits<float> {
  using Integer = std::int32_t;
  static constexpr int kMantissa = 23;
  static constexpr int kExponentBias = 127;
};
template <>
struct Bits<double> {
  using Integer = std::int64_t;
  static constexpr int kMantissa = 52;
  static constexpr int kExponentBias = 1023;
};

constexpr int kBinBits = std::countr_zero(static_cast<unsigned>(MagnitudeSummary::kBinsPerOctave));
static_assert(1 << kBinBits == MagnitudeSummary::kBinsPerOctave, "a bin is the top bits of the mantissa");

// Elements looked at together: their bins fit the first-level cache.
constexpr std::int64_t kChunk = 1024;
// Neighbours often share a bin, and a counter cannot be incremented again before it was stored: so neighbours count in
// different histograms.
constexpr int kHistograms = 4;

// What one thread finds in its part.
template <class T>
struct Part {
  typename Bits<T>::Integer largest = -1;  // bits of |x|; every NaN counts as the same number above infinity
  std::int64_t at = 0;
  std::uint32_t counts[kHistograms][MagnitudeSummary::kBins] = {};
  std::int64_t totals[MagnitudeSummary::kBins] = {};

  // The 32-bit counters are emptied long before they could overflow.
  void flush() {
    for (auto& histogram : counts) {
      for (int bin = 0; bin < MagnitudeSummary::kBins; ++bin) {
        totals[bin] += histogram[bin];
        histogram[bin] = 0;
      }
    }
  }
};

template <class T>
void summarize_part(const T* x, std::int64_t begin, std::int64_t end, Part<T>& part) {
  using Integer = typename Bits<T>::Integer;
  constexpr Integer kMagnitude = std::numeric_limits<Integer>::max();
  constexpr Integer kNaN = std::bit_cast<Integer>(std::numeric_limits<T>::infinity()) + 1;
  constexpr int kShift = Bits<T>::kMantissa - kBinBits;
  constexpr int kFirst = (Bits<T>::kExponentBias + MagnitudeSummary::kLowestExponent) << kBinBits;
  constexpr int kLast = MagnitudeSummary::kBins - 1;
  constexpr std::int64_t kFlushEvery = std::int64_t{1} << 30;
  const auto magnitude = [](T value) {
    const Integer bits = std::bit_cast<Integer>(value) & kMagnitude;
    return bits < kNaN ? bits : kNaN;
  };

  alignas(64) std::int32_t bins[kChunk];
  std::int64_t since_flush = 0;
  for (std::int64_t chunk = begin; chunk < end; chunk += kChunk) {
    const std::int64_t count = std::min(kChunk, end - chunk);
    const T* values = x + chunk;
    Integer largest = 0;
#pragma omp simd reduction(max : largest)
    for (std::int64_t i = 0; i < count; ++i) {
      const Integer bits = magnitude(values[i]);
      largest = std::max(largest, bits);
      bins[i] = std::clamp(static_cast<std::int32_t>(bits >> kShift) - kFirst, 0, kLast);
    }
    if (largest > part.largest) {
      part.largest = largest;
      part.at =
          chunk + (std::find_if(values, values + count, [&](T value) { return magnitude(value) == largest; }) - values);
    }
    std::int64_t i = 0;
    for (; i + kHistograms <= count; i += kHistograms) {
      for (int lane = 0; lane < kHistograms; ++lane) ++part.counts[lane][bins[i + lane]];
    }
    for (; i < count; ++i) ++part.counts[0][bins[i]];
    since_flush += count;
    if (since_flush >= kFlushEvery) {
      part.flush();
      since_flush = 0;
    }
  }
  part.flush();
}

// Whether (value, row, column) comes before the summary's maximum: larger (NaN above all), or as large and earlier.
bool replaces(double value, std::int64_t row, std::int64_t column, const MagnitudeSummary& summary) {
  const bool equal = value == summary.max_abs || (std::isnan(value) && std::isnan(summary.max_abs));
  if (equal) return row < summary.row || (row == summary.row && column < summary.column);
  return std::isnan(value) || value > summary.max_abs;
}

// On the CPU the words of a summary are the struct itself; zeroed words are an empty one.
static_assert(sizeof(MagnitudeSummary) == MagnitudeSummary::kWords * sizeof(std::int64_t));
MagnitudeSummary* summaries_of(const Tensor& words) {
  return reinterpret_cast<MagnitudeSummary*>(words.data<std::int64_t>());
}

// A NaN makes max_abs NaN, with the place of the first NaN, and is counted in the last bin.
void summarize_magnitudes(const Tensor& x, const Magnitudes& seen) {
  if (x.elements() == 0) return;
  MagnitudeSummary& summary = *summaries_of(seen.summary);
  dispatch(x.dtype(), [&]<class T>() {
    const T* values = x.data<T>();
    std::vector<Part<T>> parts(static_cast<std::size_t>(part_count(x.elements(), kElementGrain)));
    parallel_parts(x.elements(), kElementGrain, [&](int index, std::int64_t begin, std::int64_t end) {
      summarize_part(values, begin, end, parts[static_cast<std::size_t>(index)]);
    });
    for (const auto& part : parts) {
      for (int bin = 0; bin < MagnitudeSummary::kBins; ++bin) summary.counts[bin] += part.totals[bin];
      const auto value = static_cast<double>(std::bit_cast<T>(part.largest));
      const std::int64_t row = seen.first_row + part.at / x.columns();
      const std::int64_t column = part.at % x.columns();
      if (replaces(value, row, column, summary)) {
        summary.max_abs = value;
        summary.row = row;
        summary.column = column;
      }
    }
  });
}

void read_summaries(const Tensor& summaries, std::int64_t /*columns*/, std::span<MagnitudeSummary> out) {
  check_elements("read_summaries", "summaries", summaries, std::ssize(out) * MagnitudeSummary::kWords);
  std::copy_n(summaries_of(summaries), out.size(), out.data());
}

}  // namespace

void fill_statistics(OpTable& table) {
  table.read_summaries = read_summaries;
  table.summarize_magnitudes = summarize_magnitudes;
}

}  // namespace headroom::cpu
