#include "analysis/statistics.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

namespace headroom {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The larger of two magnitudes, NaN if either is.
double larger(double a, double b) {
  return b < a || std::isnan(a) ? a : b;
}

// The middle of magnitudes without NaN; reorders them.
template <class T>
double middle(std::span<T> magnitudes) {
  const std::size_t half = magnitudes.size() / 2;
  std::nth_element(magnitudes.begin(), magnitudes.begin() + static_cast<std::ptrdiff_t>(half), magnitudes.end());
  const auto upper = static_cast<double>(magnitudes[half]);
  if (magnitudes.size() % 2 == 1) return upper;
  const auto lower = *std::max_element(magnitudes.begin(), magnitudes.begin() + static_cast<std::ptrdiff_t>(half));
  return 0.5 * (static_cast<double>(lower) + upper);
}

// The bin of a magnitude that is no NaN: the exponent's bits give the octave, the fraction's the bin within it.
// Zeros and subnormal numbers have the lowest exponent, infinities the highest.
int histogram_bin(double magnitude) {
  constexpr int kFractionBits = std::numeric_limits<double>::digits - 1;
  constexpr int kExponentBias = std::numeric_limits<double>::max_exponent - 1;
  static const auto thresholds = [] {
    std::array<std::uint64_t, kHistogramBinsPerOctave - 1> bits{};
    for (std::size_t i = 0; i < bits.size(); ++i) {
      const double edge = std::exp2((static_cast<double>(i) + 1.0) / kHistogramBinsPerOctave);  // in (1, 2)
      bits[i] = std::bit_cast<std::uint64_t>(edge) << (64 - kFractionBits);
    }
    return bits;
  }();
  const auto bits = std::bit_cast<std::uint64_t>(magnitude);
  const int octave = static_cast<int>(bits >> kFractionBits) - kExponentBias - MagnitudeSummary::kLowestExponent;
  int bin = octave * kHistogramBinsPerOctave;
  for (const std::uint64_t threshold : thresholds) bin += bits << (64 - kFractionBits) >= threshold ? 1 : 0;
  return std::clamp(bin, 0, kHistogramBins - 1);
}

// The K largest magnitudes seen so far, the smallest of them on top of the heap.
class TopList {
 public:
  explicit TopList(std::int64_t capacity)
      : capacity_(static_cast<std::size_t>(capacity)), floor_(capacity == 0 ? kInfinity : -1.0) {}

  // Values come in row-major order, so of equals the earlier one is already in.
  void offer(double value, std::int64_t token, std::int64_t channel) {
    if (rank_of(value) <= floor_) return;
    if (heap_.size() == capacity_) {
      std::pop_heap(heap_.begin(), heap_.end(), before);
      heap_.pop_back();
    }
    heap_.push_back({value, static_cast<std::int32_t>(token), static_cast<std::int32_t>(channel)});
    std::push_heap(heap_.begin(), heap_.end(), before);
    if (heap_.size() == capacity_) floor_ = rank_of(heap_.front().value);
  }

  // Whether no magnitude up to this one (no NaN) can get in.
  bool closed_to(double magnitude) const { return rank_of(magnitude) <= floor_; }

  std::vector<TopValue> sorted() {
    std::sort(heap_.begin(), heap_.end(), before);
    return std::move(heap_);
  }

 private:
  // A NaN ranks above an infinity, an infinity like the largest finite number.
  static double rank_of(double value) {
    if (std::isnan(value)) return kInfinity;
    return std::min(std::abs(value), std::numeric_limits<double>::max());
  }
  static bool before(const TopValue& a, const TopValue& b) {
    const double left = rank_of(a.value);
    const double right = rank_of(b.value);
    if (left != right) return left > right;
    return a.token != b.token ? a.token < b.token : a.channel < b.channel;
  }

  std::size_t capacity_;
  double floor_;  // the rank to get above: that of the last, once the list is full
  std::vector<TopValue> heap_;
};

// Adds a row's elements beyond each format's range to `beyond`, its infinities and NaNs to `nonfinite`.
template <class T>
void count_beyond(std::span<const T> row, std::array<std::int64_t, 3>& beyond, std::int64_t& nonfinite) {
  constexpr std::array limits = {kMaxE4m3, kMaxE5m2, kMaxF16};
  for (const T value : row) {
    for (std::size_t format = 0; format < limits.size(); ++format) {
      beyond[format] += std::abs(static_cast<double>(value)) <= limits[format] ? 0 : 1;
    }
    nonfinite += std::isfinite(value) ? 0 : 1;
  }
}

// sum s^4 / d over (sum s^2 / d)^2 of the channels' mean squares s^2.
double channel_kurtosis(std::span<const double> channel_squares, std::int64_t tokens) {
  double second = 0.0;
  double fourth = 0.0;
  for (const double squares : channel_squares) {
    const double mean_square = squares / static_cast<double>(tokens);
    second += mean_square;
    fourth += mean_square * mean_square;
  }
  const auto channels = static_cast<double>(channel_squares.size());
  return fourth / channels / ((second / channels) * (second / channels));
}

// The magnitude of this rank (0 the smallest): a bin's values taken to lie evenly spread over it.
double ranked_magnitude(const MagnitudeSummary& summary, std::int64_t rank) {
  int bin = 0;
  std::int64_t within = rank;
  while (within >= summary.counts[bin]) within -= summary.counts[bin++];
  if (bin == 0) return summary_edge(0);
  const double fraction = (static_cast<double>(within) + 0.5) / static_cast<double>(summary.counts[bin]);
  return summary_edge(bin) + fraction * (summary_edge(bin + 1) - summary_edge(bin));
}

}  // namespace

std::vector<double> histogram_edges() {
  std::vector<double> edges;
  for (int bin = 0; bin <= kHistogramBins; ++bin) {
    edges.push_back(std::exp2(MagnitudeSummary::kLowestExponent + bin / double{kHistogramBinsPerOctave}));
  }
  return edges;
}

namespace {

// Numbers from which counting beats a selection in a copy.
constexpr std::size_t kCounted = 16384;

// The same median by counting the upper halves of the magnitudes' bits, which order as the magnitudes do: only those
// that share the middle's are looked at closely.
double counted_median(std::span<const float> x) {
  constexpr std::uint32_t kMagnitude = 0x7FFFFFFFU;
  constexpr std::uint32_t kLargestNumber = 0x7F800000U;  // infinity; NaNs lie above
  constexpr int kHalf = 16;
  const auto bits = [](float value) { return std::bit_cast<std::uint32_t>(value) & kMagnitude; };
  std::vector<std::uint32_t> counts(std::size_t{1} << kHalf);
  std::uint32_t largest = 0;
  for (const float value : x) {
    const std::uint32_t magnitude = bits(value);
    ++counts[magnitude >> kHalf];
    largest = std::max(largest, magnitude);
  }
  if (largest > kLargestNumber) return kNaN;
  // The half that holds the number of a rank, and how many are in those before it.
  const auto half_of = [&](std::size_t rank) {
    std::size_t before = 0;
    std::uint32_t half = 0;
    while (before + counts[half] <= rank) before += counts[half++];
    return std::pair(half, before);
  };
  const std::size_t ranks[] = {(x.size() - 1) / 2, x.size() / 2};
  const auto [low, before] = half_of(ranks[0]);
  const std::uint32_t high = half_of(ranks[1]).first;
  std::vector<float> near;
  for (const float value : x) {
    const std::uint32_t half = bits(value) >> kHalf;
    if (half >= low && half <= high) near.push_back(std::abs(value));
  }
  const auto ranked = [&, first = before](std::size_t rank) {
    const auto at = near.begin() + static_cast<std::ptrdiff_t>(rank - first);
    std::nth_element(near.begin(), at, near.end());
    return static_cast<double>(*at);
  };
  return 0.5 * (ranked(ranks[0]) + ranked(ranks[1]));
}

}  // namespace

template <class T>
double median_magnitude(std::span<const T> x) {
  if constexpr (std::is_same_v<T, float>) {
    if (x.size() >= kCounted) return counted_median(x);
  }
  std::vector<T> magnitudes(x.size());
  bool nan = x.empty();
  for (std::size_t i = 0; i < x.size(); ++i) {
    magnitudes[i] = std::abs(x[i]);
    nan |= std::isnan(x[i]);
  }
  return nan ? kNaN : middle(std::span<T>(magnitudes));
}

template <class T>
HiddenStatistics hidden_statistics(std::span<const T> h, std::int64_t tokens, std::int64_t channels,
                                   std::int64_t top_k) {
  HEADROOM_CHECK(tokens > 0 && channels > 0 && static_cast<std::int64_t>(h.size()) == tokens * channels,
                 "statistics of {} numbers as [{}, {}]", h.size(), tokens, channels);
  const auto width = static_cast<std::size_t>(channels);
  const auto elements = static_cast<double>(h.size());
  HiddenStatistics out;
  out.histogram.assign(kHistogramBins, 0);
  out.channel_max.assign(width, 0.0);
  std::vector<double> channel_squares(width, 0.0);
  TopList top(top_k);
  double sum = 0.0;
  double squares = 0.0;
  double mmr_sum = 0.0;
  std::array<std::int64_t, 3> beyond{};

  for (std::int64_t token = 0; token < tokens; ++token) {
    const auto row = h.subspan(static_cast<std::size_t>(token) * width, width);
    double row_max = 0.0;
    double row_squares = 0.0;
    for (std::size_t c = 0; c < width; ++c) {
      const auto value = static_cast<double>(row[c]);
      const double magnitude = std::abs(value);
      row_max = larger(magnitude, row_max);
      row_squares += value * value;
      sum += value;
      channel_squares[c] += value * value;
      out.channel_max[c] = larger(magnitude, out.channel_max[c]);
    }
    for (const T value : row) {
      if (!std::isnan(value))
        ++out.histogram[static_cast<std::size_t>(histogram_bin(std::abs(static_cast<double>(value))))];
    }
    // Rows without large elements, nearly all, need no closer look.
    if (!(row_max <= kMaxE4m3)) count_beyond(row, beyond, out.nonfinite);
    if (std::isnan(row_max) || !top.closed_to(row_max)) {
      for (std::size_t c = 0; c < width; ++c)
        top.offer(static_cast<double>(row[c]), token, static_cast<std::int64_t>(c));
    }
    const double row_median = median_magnitude(row);
    const double mmr = row_max / row_median;
    out.token_max.push_back(row_max);
    out.token_median.push_back(row_median);
    out.token_rms.push_back(std::sqrt(row_squares / static_cast<double>(channels)));
    out.max_abs = larger(row_max, out.max_abs);
    out.mmr_max = larger(mmr, out.mmr_max);
    mmr_sum += mmr;
    squares += row_squares;
  }

  out.median_abs = median_magnitude(h);
  out.rms = std::sqrt(squares / elements);
  out.mean = sum / elements;
  double deviations = 0.0;
  for (const T value : h)
    deviations += (static_cast<double>(value) - out.mean) * (static_cast<double>(value) - out.mean);
  out.std = std::sqrt(deviations / elements);
  out.kurtosis = channel_kurtosis(channel_squares, tokens);
  out.mmr_mean = mmr_sum / static_cast<double>(tokens);
  out.beyond_e4m3 = static_cast<double>(beyond[0]) / elements;
  out.beyond_e5m2 = static_cast<double>(beyond[1]) / elements;
  out.beyond_f16 = static_cast<double>(beyond[2]) / elements;
  out.top = top.sorted();
  return out;
}

template double median_magnitude<float>(std::span<const float>);
template double median_magnitude<double>(std::span<const double>);
template HiddenStatistics hidden_statistics<float>(std::span<const float>, std::int64_t, std::int64_t, std::int64_t);
template HiddenStatistics hidden_statistics<double>(std::span<const double>, std::int64_t, std::int64_t, std::int64_t);

double summary_edge(int bin) {
  const int octave = bin / MagnitudeSummary::kBinsPerOctave;
  const int within = bin % MagnitudeSummary::kBinsPerOctave;
  return std::ldexp(1.0 + within / double{MagnitudeSummary::kBinsPerOctave},
                    MagnitudeSummary::kLowestExponent + octave);
}

void merge(const MagnitudeSummary& from, MagnitudeSummary& into) {
  for (int bin = 0; bin < MagnitudeSummary::kBins; ++bin) into.counts[bin] += from.counts[bin];
  const bool both_nan = std::isnan(from.max_abs) && std::isnan(into.max_abs);
  const bool equal = from.max_abs == into.max_abs || both_nan;
  const bool earlier = from.row < into.row || (from.row == into.row && from.column < into.column);
  const bool above = !std::isnan(into.max_abs) && (std::isnan(from.max_abs) || from.max_abs > into.max_abs);
  if (equal ? !earlier : !above) return;
  into.max_abs = from.max_abs;
  into.row = from.row;
  into.column = from.column;
}

double median_of(const MagnitudeSummary& summary) {
  std::int64_t total = 0;
  for (const std::int64_t count : summary.counts) total += count;
  if (total == 0) return kNaN;
  // As for an exact median: the middle value, or the mean of the two middle ones.
  return 0.5 * (ranked_magnitude(summary, (total - 1) / 2) + ranked_magnitude(summary, total / 2));
}

}  // namespace headroom
