// What is measured on a hidden state and on the monitor's histograms; the formulas are in
// docs/metrics.md. Pure functions on host numbers; everything is accumulated in double.
//
// A NaN is never dropped: every statistic it enters becomes NaN (the matrix's, its token's, its channel's), it stands
// first among the top values, it counts as beyond every format, and in `nonfinite`. It is in no histogram bin.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/ops.h"

namespace headroom {

// Largest finite magnitudes of the low-precision formats.
inline constexpr double kMaxE4m3 = 448.0;
inline constexpr double kMaxE5m2 = 57344.0;
inline constexpr double kMaxF16 = 65504.0;

// ---- histogram of magnitudes --------------------------------------------------------------------------------------
// Bin b of a snapshot's histogram holds magnitudes in [2^(-24 + b/4), 2^(-24 + (b+1)/4)), 48 octaves; zeros and smaller
// ones fall into bin 0, larger ones and infinities into the last. NaNs are in none.
inline constexpr int kHistogramBinsPerOctave = 4;
inline constexpr int kHistogramBins = MagnitudeSummary::kOctaves * kHistogramBinsPerOctave;
// The kHistogramBins + 1 edges.
std::vector<double> histogram_edges();

// ---- hidden states ------------------------------------------------------------------------------------------------
// One of the largest magnitudes of a matrix with its place.
struct TopValue {
  double value = 0.0;  // signed
  std::int32_t token = -1;
  std::int32_t channel = -1;
};

struct HiddenStatistics {
  double max_abs = 0.0;
  double median_abs = 0.0;
  double rms = 0.0;
  double mean = 0.0;
  double std = 0.0;       // over all elements, divided by their number
  double kurtosis = 0.0;  // over channels; NaN for a matrix of zeros
  double mmr_mean = 0.0;  // over tokens of max/median; infinite or NaN where a token's median is 0
  double mmr_max = 0.0;
  double beyond_e4m3 = 0.0;  // shares of elements, in [0, 1]
  double beyond_e5m2 = 0.0;
  double beyond_f16 = 0.0;
  std::int64_t nonfinite = 0;           // infinities and NaNs
  std::vector<TopValue> top;            // falling; of equals the first in row-major order; K or fewer
  std::vector<double> channel_max;      // [d] max over tokens of |h|
  std::vector<double> token_max;        // [T] over channels of |h|
  std::vector<double> token_median;     // [T]
  std::vector<double> token_rms;        // [T]
  std::vector<std::int64_t> histogram;  // [kHistogramBins]
};

// Statistics of h [tokens, channels], row-major; T float or double. Throws ExitCode::internal for an empty matrix.
template <class T>
HiddenStatistics hidden_statistics(std::span<const T> h, std::int64_t tokens, std::int64_t channels,
                                   std::int64_t top_k);

// The median of |x|: the middle value, or the mean of the two middle ones; NaN if there is a NaN or x is empty.
// O(n), by counting or by selection in a copy.
template <class T>
double median_magnitude(std::span<const T> x);

// ---- the monitor's summaries --------------------------------------------------------------------------------------
// Lower edge of a bin of MagnitudeSummary; bin kBins gives the last one's upper edge. Within an octave the bins are
// equally wide: [2^e (1 + m/8), 2^e (1 + (m+1)/8)).
double summary_edge(int bin);

// Adds `from` to `into`: counts add up; the larger maximum stays (NaN above all), of equal ones the earlier place.
void merge(const MagnitudeSummary& from, MagnitudeSummary& into);

// The median magnitude from the counts, interpolated within its bin: off by at most the bin's width, a factor of 9/8,
// and by much less where the bin is evenly filled. Bin 0 also holds zeros: a median there reads 2^-24, the lower end of
// the scale. NaN if there are no counts.
double median_of(const MagnitudeSummary& summary);

}  // namespace headroom
