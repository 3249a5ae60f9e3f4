// Statistics of hidden states: cases worked out by hand, everything against naive loops, and what becomes of NaNs.
#include "analysis/statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/random.h"

namespace headroom {
namespace {

using ::testing::ElementsAre;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Normal numbers with a few channels and one token far larger than the rest.
template <class T>
std::vector<T> sample(std::int64_t tokens, std::int64_t channels) {
  const RandomStream stream(7, "statistics-test");
  std::vector<T> h;
  for (std::int64_t i = 0; i < tokens * channels; ++i) {
    const double scale = (i % channels == 3 ? 60.0 : 1.0) * (i / channels == 0 ? 30.0 : 1.0);
    h.push_back(static_cast<T>(scale * stream.normal(static_cast<std::uint64_t>(i))));
  }
  return h;
}

double naive_median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

template <class T>
class HiddenStatisticsTest : public ::testing::Test {};
using Numbers = ::testing::Types<float, double>;
TYPED_TEST_SUITE(HiddenStatisticsTest, Numbers);

TYPED_TEST(HiddenStatisticsTest, AgreesWithNaiveLoops) {
  for (const auto& [tokens, channels] : {std::pair{13, 7}, {1, 5}, {64, 31}, {2, 4}}) {
    const auto h = sample<TypeParam>(tokens, channels);
    const HiddenStatistics s = hidden_statistics<TypeParam>(h, tokens, channels, 4);
    const auto at = [&, width = channels](int t, int c) {
      return static_cast<double>(h[static_cast<std::size_t>(t * width + c)]);
    };

    std::vector<double> all;
    double sum = 0, squares = 0, mmr = 0, mmr_max = 0, s2 = 0, s4 = 0;
    for (int t = 0; t < tokens; ++t) {
      std::vector<double> row;
      for (int c = 0; c < channels; ++c) row.push_back(std::abs(at(t, c)));
      const double largest = *std::max_element(row.begin(), row.end());
      EXPECT_EQ(s.token_max[static_cast<std::size_t>(t)], largest);
      EXPECT_EQ(s.token_median[static_cast<std::size_t>(t)], naive_median(row));
      double row_squares = 0;
      for (const double value : row) row_squares += value * value;
      EXPECT_NEAR(s.token_rms[static_cast<std::size_t>(t)], std::sqrt(row_squares / channels), 1e-12 * largest);
      mmr += largest / naive_median(row);
      mmr_max = std::max(mmr_max, largest / naive_median(row));
      all.insert(all.end(), row.begin(), row.end());
    }
    for (int c = 0; c < channels; ++c) {
      double largest = 0, mean_square = 0;
      for (int t = 0; t < tokens; ++t) {
        largest = std::max(largest, std::abs(at(t, c)));
        mean_square += at(t, c) * at(t, c) / tokens;
        sum += at(t, c);
        squares += at(t, c) * at(t, c);
      }
      EXPECT_EQ(s.channel_max[static_cast<std::size_t>(c)], largest);
      s2 += mean_square;
      s4 += mean_square * mean_square;
    }
    const double n = tokens * channels;
    EXPECT_EQ(s.max_abs, *std::max_element(all.begin(), all.end()));
    EXPECT_EQ(s.median_abs, naive_median(all));
    EXPECT_NEAR(s.rms, std::sqrt(squares / n), 1e-12 * s.rms);
    EXPECT_NEAR(s.mean, sum / n, 1e-12 * s.rms);
    EXPECT_NEAR(s.std, std::sqrt(squares / n - (sum / n) * (sum / n)), 1e-9 * s.rms);
    EXPECT_NEAR(s.kurtosis, (s4 / channels) / ((s2 / channels) * (s2 / channels)), 1e-10 * s.kurtosis);
    EXPECT_NEAR(s.mmr_mean, mmr / tokens, 1e-12 * s.mmr_mean);
    EXPECT_EQ(s.mmr_max, mmr_max);
    EXPECT_EQ(std::accumulate(s.histogram.begin(), s.histogram.end(), std::int64_t{0}), tokens * channels);
    EXPECT_EQ(s.nonfinite, 0);

    std::sort(all.rbegin(), all.rend());
    ASSERT_EQ(s.top.size(), std::min<std::size_t>(4, all.size()));
    for (std::size_t k = 0; k < s.top.size(); ++k) {
      EXPECT_EQ(std::abs(s.top[k].value), all[k]);
      EXPECT_EQ(s.top[k].value, at(s.top[k].token, s.top[k].channel));
    }
  }
}

TEST(HiddenStatisticsHandCases, OneLargeElement) {
  //  1 -1  2        channels' mean squares: 1, 1, (4 + 10000) / 2
  //  1  1 -100
  const std::vector<float> h = {1, -1, 2, 1, 1, -100};
  const HiddenStatistics s = hidden_statistics<float>(h, 2, 3, 2);
  EXPECT_EQ(s.max_abs, 100);
  EXPECT_EQ(s.median_abs, 1);
  EXPECT_DOUBLE_EQ(s.rms, std::sqrt(10008.0 / 6));
  EXPECT_DOUBLE_EQ(s.mean, -16);
  EXPECT_DOUBLE_EQ(s.mmr_mean, (2.0 + 100.0) / 2);
  EXPECT_DOUBLE_EQ(s.mmr_max, 100);
  EXPECT_DOUBLE_EQ(s.kurtosis, ((1 + 1 + 5002.0 * 5002.0) / 3) / std::pow((1 + 1 + 5002.0) / 3, 2));
  EXPECT_THAT(s.channel_max, ElementsAre(1, 1, 100));
  EXPECT_THAT(s.token_max, ElementsAre(2, 100));
  EXPECT_EQ(s.top[0].value, -100);
  EXPECT_EQ(s.top[0].token, 1);
  EXPECT_EQ(s.top[0].channel, 2);
  EXPECT_EQ(s.top[1].value, 2);
}

TEST(HiddenStatisticsHandCases, KurtosisIsOneWhenFlatAndTheWidthWhenOneChannelHasAll) {
  const std::vector<double> flat = {2, -2, 2, -2, -2, 2, 2, 2};
  EXPECT_DOUBLE_EQ(hidden_statistics<double>(flat, 2, 4, 1).kurtosis, 1.0);
  const std::vector<double> one = {0, 0, 5, 0, 0, 0, -7, 0};
  EXPECT_DOUBLE_EQ(hidden_statistics<double>(one, 2, 4, 1).kurtosis, 4.0);
}

TEST(HiddenStatisticsHandCases, OfEqualMagnitudesTheEarliestComeFirst) {
  const std::vector<float> h = {3, -3, 3, 3, 3, -3};
  const HiddenStatistics s = hidden_statistics<float>(h, 3, 2, 3);
  ASSERT_EQ(s.top.size(), 3u);
  EXPECT_EQ(s.top[0].token * 2 + s.top[0].channel, 0);
  EXPECT_EQ(s.top[1].token * 2 + s.top[1].channel, 1);
  EXPECT_EQ(s.top[2].token * 2 + s.top[2].channel, 2);
  EXPECT_TRUE(hidden_statistics<float>(h, 3, 2, 0).top.empty());
  EXPECT_EQ(hidden_statistics<float>(h, 3, 2, 10).top.size(), 6u);
}

TEST(HiddenStatisticsHandCases, SharesBeyondTheFormatsAreStrict) {
  const std::vector<float> h = {448, -449, 57344, 57345, 65504, -65505, 1, 0};
  const HiddenStatistics s = hidden_statistics<float>(h, 2, 4, 1);
  EXPECT_DOUBLE_EQ(s.beyond_e4m3, 5.0 / 8);
  EXPECT_DOUBLE_EQ(s.beyond_e5m2, 3.0 / 8);
  EXPECT_DOUBLE_EQ(s.beyond_f16, 1.0 / 8);
}

TEST(HiddenStatisticsHandCases, EveryMagnitudeFallsBetweenItsBinsEdges) {
  const std::vector<double> edges = histogram_edges();
  ASSERT_EQ(edges.size(), static_cast<std::size_t>(kHistogramBins) + 1);
  const auto bin_of = [](double value) {
    const HiddenStatistics s = hidden_statistics<double>(std::vector<double>{value}, 1, 1, 0);
    return static_cast<std::size_t>(std::find(s.histogram.begin(), s.histogram.end(), 1) - s.histogram.begin());
  };
  for (std::size_t bin = 0; bin < static_cast<std::size_t>(kHistogramBins); ++bin) {
    EXPECT_EQ(bin_of(edges[bin]), bin);
    EXPECT_EQ(bin_of(-std::nextafter(edges[bin + 1], 0.0)), bin);
  }
  EXPECT_EQ(bin_of(0.0), 0u);
  EXPECT_EQ(bin_of(1e-30), 0u);
  EXPECT_EQ(bin_of(5e-324), 0u);
  EXPECT_EQ(bin_of(1e30), static_cast<std::size_t>(kHistogramBins) - 1);
  EXPECT_EQ(bin_of(-kInfinity), static_cast<std::size_t>(kHistogramBins) - 1);
}

TEST(HiddenStatisticsHandCases, ANaNIsSeenEverywhere) {
  const std::vector<double> h = {1, 2, 3, 4, kNaN, 6, -kInfinity, 8, 9};
  const HiddenStatistics s = hidden_statistics<double>(h, 3, 3, 3);
  for (const double value : {s.max_abs, s.median_abs, s.rms, s.mean, s.std, s.kurtosis, s.mmr_mean, s.mmr_max}) {
    EXPECT_TRUE(std::isnan(value));
  }
  EXPECT_EQ(s.nonfinite, 2);
  EXPECT_EQ(s.token_max[0], 3);
  EXPECT_TRUE(std::isnan(s.token_max[1]));
  EXPECT_EQ(s.token_max[2], kInfinity);
  EXPECT_EQ(s.channel_max[0], kInfinity);
  EXPECT_TRUE(std::isnan(s.channel_max[1]));
  EXPECT_EQ(s.channel_max[2], 9);
  EXPECT_TRUE(std::isnan(s.top[0].value));
  EXPECT_EQ(s.top[0].token, 1);
  EXPECT_EQ(s.top[0].channel, 1);
  EXPECT_EQ(s.top[1].value, -kInfinity);
  EXPECT_EQ(s.top[2].value, 9);
  EXPECT_DOUBLE_EQ(s.beyond_f16, 2.0 / 9);
  EXPECT_EQ(std::accumulate(s.histogram.begin(), s.histogram.end(), std::int64_t{0}), 8);
}

TEST(HiddenStatisticsHandCases, AnEmptyMatrixIsABug) {
  EXPECT_THROW(hidden_statistics<float>({}, 0, 4, 1), Error);
  const std::vector<float> h(6);
  EXPECT_THROW(hidden_statistics<float>(h, 2, 4, 1), Error);
}

TEST(MedianMagnitude, OddEvenAndNone) {
  EXPECT_EQ(median_magnitude<float>(std::vector<float>{-5, 1, 3}), 3);
  EXPECT_EQ(median_magnitude<float>(std::vector<float>{-5, 1, 3, -4}), 3.5);
  EXPECT_TRUE(std::isnan(median_magnitude<double>({})));
}

MagnitudeSummary summary_of(const std::vector<float>& values, std::int64_t first_row = 0) {
  std::vector<float> copy = values;
  std::vector<std::int64_t> words(MagnitudeSummary::kWords, 0);
  const Tensor there = Tensor::over(std::span<std::int64_t>(words), {1, MagnitudeSummary::kWords});
  ops::summarize_magnitudes(Tensor::over(std::span<float>(copy), {static_cast<std::int64_t>(copy.size()), 1}),
                            Magnitudes{there, first_row});
  MagnitudeSummary summary;
  ops::read_summaries(there, 1, std::span<MagnitudeSummary>(&summary, 1));
  return summary;
}

TEST(SummaryMedian, EdgesAreThoseOfTheOperation) {
  for (int bin = 1; bin < MagnitudeSummary::kBins; ++bin) {
    const auto lower = static_cast<float>(summary_edge(bin));
    EXPECT_EQ(summary_of({lower}).counts[bin], 1) << bin;
    EXPECT_EQ(summary_of({std::nextafter(lower, 0.0f)}).counts[bin - 1], 1) << bin;
  }
}

TEST(SummaryMedian, IsWithinABinOfTheExactMedianAndUsuallyMuchCloser) {
  for (const std::int64_t count : {1, 2, 7, 1000, 4097}) {
    const auto values = sample<float>(count, 1);
    const double exact = median_magnitude<float>(values);
    const double estimate = median_of(summary_of(values));
    EXPECT_LT(estimate / exact, 9.0 / 8) << count;
    EXPECT_GT(estimate / exact, 8.0 / 9) << count;
    if (count >= 1000) {
      EXPECT_NEAR(estimate / exact, 1.0, 0.01) << count;
    }
  }
}

TEST(SummaryMedian, ZerosReadAsTheLowEndOfTheScaleAndNothingAsNaN) {
  EXPECT_EQ(median_of(summary_of({0, 0, 5})), std::ldexp(1.0, -24));
  EXPECT_TRUE(std::isnan(median_of(MagnitudeSummary{})));
}

TEST(SummaryMerge, IsTheSummaryOfEverything) {
  const auto values = sample<float>(97, 1);
  const MagnitudeSummary whole = summary_of(values);
  for (const std::size_t cut : {1u, 40u, 96u}) {
    const std::vector<float> head(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(cut));
    const std::vector<float> tail(values.begin() + static_cast<std::ptrdiff_t>(cut), values.end());
    MagnitudeSummary merged = summary_of(tail, static_cast<std::int64_t>(cut));
    merge(summary_of(head), merged);
    EXPECT_EQ(merged.max_abs, whole.max_abs);
    EXPECT_EQ(merged.row, whole.row);
    EXPECT_TRUE(std::equal(std::begin(merged.counts), std::end(merged.counts), std::begin(whole.counts)));
  }
}

TEST(SummaryMerge, NaNsWinAndTiesGoToTheEarlierPlace) {
  MagnitudeSummary large = summary_of({9}, 5);
  merge(summary_of({-9}, 2), large);
  EXPECT_EQ(large.row, 2);
  merge(summary_of({9}, 3), large);
  EXPECT_EQ(large.row, 2);
  merge(summary_of({std::nanf("")}, 8), large);
  EXPECT_TRUE(std::isnan(large.max_abs));
  EXPECT_EQ(large.row, 8);
  merge(summary_of({std::nanf("")}, 4), large);
  EXPECT_EQ(large.row, 4);
  merge(summary_of({1e9f}, 0), large);
  EXPECT_TRUE(std::isnan(large.max_abs));
}

}  // namespace
}  // namespace headroom
