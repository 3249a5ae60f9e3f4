// The monitor's summary: maximum with its first place, histogram by the bins' definition, and what NaN does.
#include <cmath>
#include <limits>
#include <numeric>

#include "tensor/cpu/vector_math.h"
#include "tests/tensor/reference.h"

namespace headroom {
namespace {

using reference::Summary;
using reference::TestTensor;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The bin by its definition: 8 equal parts of every octave from 2^-24 on.
int bin_of(double value) {
  const double magnitude = std::abs(value);
  if (!(magnitude >= std::ldexp(1.0, MagnitudeSummary::kLowestExponent)))
    return std::isnan(value) ? MagnitudeSummary::kBins - 1 : 0;
  if (std::isinf(magnitude)) return MagnitudeSummary::kBins - 1;
  const int octave = std::ilogb(magnitude);
  const int part = static_cast<int>((std::ldexp(magnitude, -octave) - 1.0) * MagnitudeSummary::kBinsPerOctave);
  const int bin = (octave - MagnitudeSummary::kLowestExponent) * MagnitudeSummary::kBinsPerOctave + part;
  return std::min(bin, MagnitudeSummary::kBins - 1);
}

std::vector<std::int64_t> histogram(const TestTensor& x) {
  std::vector<std::int64_t> counts(MagnitudeSummary::kBins, 0);
  for (const double value : x.values()) ++counts[static_cast<std::size_t>(bin_of(value))];
  return counts;
}

class MagnitudesOps : public reference::OverPlaces {
 protected:
  Summary empty() const { return Summary(place().device); }
};
HEADROOM_OVER_PLACES(MagnitudesOps);

TEST_P(MagnitudesOps, MaximumPlaceAndHistogram) {
  for (const Shape& shape : {Shape{1, 1}, Shape{3, 5}, Shape{31, 67}, Shape{257, 384}, Shape{1009, 101}}) {
    auto x = random(shape, "x", 3.0);
    // Magnitudes over and beyond the whole range of bins.
    for (std::int64_t i = 0; i < x.elements(); i += 7) {
      x.set(i, std::ldexp(x.at(i), static_cast<int>(i % 61) - 30));
    }
    const Summary words = empty();
    ops::summarize_magnitudes(x, words.target(100));
    const MagnitudeSummary summary = words.read(shape[1]);
    double largest = -1.0;
    std::int64_t at = 0;
    for (std::int64_t i = 0; i < x.elements(); ++i) {
      if (std::abs(x.at(i)) > largest) {
        largest = std::abs(x.at(i));
        at = i;
      }
    }
    EXPECT_EQ(summary.max_abs, largest);
    EXPECT_EQ(summary.row, 100 + at / shape[1]);
    EXPECT_EQ(summary.column, at % shape[1]);
    EXPECT_THAT(summary.counts, ::testing::ElementsAreArray(histogram(x)));
  }
}

TEST_P(MagnitudesOps, BinsStartWhereTheySay) {
  auto x = zeros({1, 10});
  const double values[] = {0.0,   -0.0, std::ldexp(1.0, -25),           std::ldexp(1.0, -24), 1.0, 1.1171875,
                           1.125, -2.0, std::ldexp(1.0, 23) * 1.984375, std::ldexp(1.0, 24)};
  const int bins[] = {0, 0, 0, 0, 24 * 8, 24 * 8, 24 * 8 + 1, 25 * 8, 383, 383};
  for (int i = 0; i < 10; ++i) x.set(i, values[i]);
  std::vector<std::int64_t> expected(MagnitudeSummary::kBins, 0);
  for (const int bin : bins) ++expected[static_cast<std::size_t>(bin)];
  const Summary words = empty();
  ops::summarize_magnitudes(x, words.target(0));
  const MagnitudeSummary summary = words.read(10);
  EXPECT_THAT(summary.counts, ::testing::ElementsAreArray(expected));
}

TEST_P(MagnitudesOps, TheFirstOfEqualMaximaWins) {
  auto x = zeros({401, 103});
  for (const std::int64_t i : {300 * 103 + 5, 200 * 103 + 7, 399 * 103 + 1}) x.set(i, i % 2 == 0 ? 9.0 : -9.0);
  const Summary words = empty();
  ops::summarize_magnitudes(x, words.target(0));
  const MagnitudeSummary summary = words.read(103);
  EXPECT_EQ(summary.max_abs, 9.0);
  EXPECT_EQ(summary.row, 200);
  EXPECT_EQ(summary.column, 7);
}

TEST_P(MagnitudesOps, AddsUpOverCalls) {
  const auto x = random({203, 97}, "x");
  const Summary of_whole = empty();
  ops::summarize_magnitudes(x, of_whole.target(0));
  const MagnitudeSummary whole = of_whole.read(97);
  const Summary of_parts = empty();  // in any order
  ops::summarize_magnitudes(x.tensor().row_range(101, 102), of_parts.target(101));
  ops::summarize_magnitudes(x.tensor().row_range(0, 101), of_parts.target(0));
  const MagnitudeSummary parts = of_parts.read(97);
  EXPECT_EQ(parts.max_abs, whole.max_abs);
  EXPECT_EQ(parts.row, whole.row);
  EXPECT_EQ(parts.column, whole.column);
  EXPECT_THAT(parts.counts, ::testing::ElementsAreArray(whole.counts));
}

TEST_P(MagnitudesOps, ANaNIsTheMaximumAndStays) {
  auto x = random({301, 101}, "x");
  x.set(200 * 101 + 3, kInfinity);
  x.set(250 * 101 + 11, kNaN);
  x.set(299 * 101 + 2, -kNaN);
  const Summary words = empty();
  ops::summarize_magnitudes(x, words.target(1000));
  MagnitudeSummary summary = words.read(101);
  EXPECT_TRUE(std::isnan(summary.max_abs));
  EXPECT_EQ(summary.row, 1250);
  EXPECT_EQ(summary.column, 11);
  EXPECT_EQ(summary.counts[MagnitudeSummary::kBins - 1], 3);
  ops::summarize_magnitudes(TestTensor::filled({3, 101}, place(), 1e30), words.target(2000));
  summary = words.read(101);
  EXPECT_TRUE(std::isnan(summary.max_abs));
  EXPECT_EQ(summary.row, 1250);
}

TEST_P(MagnitudesOps, InfinityIsANumberLikeAnother) {
  auto x = random({3, 5}, "x");
  x.set(7, -kInfinity);
  const Summary words = empty();
  ops::summarize_magnitudes(x, words.target(0));
  const MagnitudeSummary summary = words.read(5);
  EXPECT_EQ(summary.max_abs, kInfinity);
  EXPECT_EQ(summary.row, 1);
  EXPECT_EQ(summary.column, 2);
}

TEST_P(MagnitudesOps, NothingChangesNothing) {
  const Summary words = empty();
  ops::summarize_magnitudes(TestTensor::filled({1, 7}, place(), 3.0), words.target(2));
  ops::summarize_magnitudes(zeros({0, 7}), words.target(5));
  const MagnitudeSummary summary = words.read(7);
  EXPECT_EQ(summary.max_abs, 3.0);
  EXPECT_EQ(summary.row, 2);
  EXPECT_EQ(std::accumulate(std::begin(summary.counts), std::end(summary.counts), std::int64_t{0}), 7);
}

TEST_P(MagnitudesOps, AnUntouchedSummaryIsEmpty) {
  const MagnitudeSummary summary = empty().read(7);
  EXPECT_EQ(summary.max_abs, 0.0);
  EXPECT_EQ(summary.row, 0);
  EXPECT_EQ(summary.column, 0);
  EXPECT_THAT(summary.counts, ::testing::Each(0));
}

// The exponential of the ops' inner loops.
TEST(FastExp, IsAccurateOverTheWholeRange) {
  for (float x = -86.5f; x < 88.7f; x += 0.0137f) {
    const double expected = std::exp(static_cast<double>(x));
    EXPECT_NEAR(cpu::fast_exp(x) / expected, 1.0, 2e-7) << "x = " << x;
  }
}

TEST(FastExp, HasTheRightEnds) {
  constexpr float kEnd = std::numeric_limits<float>::infinity();
  EXPECT_EQ(cpu::fast_exp(0.0f), 1.0f);
  EXPECT_EQ(cpu::fast_exp(-kEnd), 0.0f);
  EXPECT_EQ(cpu::fast_exp(-1000.0f), 0.0f);
  EXPECT_EQ(cpu::fast_exp(kEnd), kEnd);
  EXPECT_EQ(cpu::fast_exp(1000.0f), kEnd);
  EXPECT_EQ(cpu::fast_exp(89.0f), kEnd);
  EXPECT_TRUE(std::isnan(cpu::fast_exp(std::numeric_limits<float>::quiet_NaN())));
}

}  // namespace
}  // namespace headroom
