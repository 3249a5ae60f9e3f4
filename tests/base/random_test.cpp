// The random numbers every run's initialisation and data order rest on: the generator against its authors' vectors,
// the distributions by their moments, the permutation by visiting everything once.
#include "base/random.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/error.h"

namespace headroom {
namespace {

using ::testing::ElementsAre;

// Known-answer vectors of the Random123 distribution (Salmon et al., SC 2011), "philox4x32 10".
TEST(Philox, GivesThePublishedVectors) {
  EXPECT_THAT(philox4x32_10({0, 0, 0, 0}, {0, 0}), ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  constexpr std::uint32_t kOnes = 0xffffffff;
  EXPECT_THAT(philox4x32_10({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
              ElementsAre(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  EXPECT_THAT(philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
              ElementsAre(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

TEST(RandomStream, IsAFunctionOfSeedNameAndIndex) {
  const RandomStream stream(7, "layers.0.q");
  EXPECT_EQ(stream.bits(12345), RandomStream(7, "layers.0.q").bits(12345));
  EXPECT_NE(stream.bits(12345), stream.bits(12346));
  EXPECT_NE(stream.bits(12345), stream.bits(12345 + (std::uint64_t{1} << 32)));
  EXPECT_NE(stream.bits(12345), RandomStream(8, "layers.0.q").bits(12345));
  EXPECT_NE(stream.bits(12345), RandomStream(7, "layers.0.k").bits(12345));
}

TEST(RandomStream, NormalNumbersComeInPairs) {
  const RandomStream stream(7, "pairs");
  for (std::uint64_t pair = 0; pair < 100; ++pair) {
    EXPECT_THAT(stream.normal_pair(pair), ElementsAre(stream.normal(2 * pair), stream.normal(2 * pair + 1)));
  }
}

constexpr std::uint64_t kDraws = 200'000;

TEST(RandomStream, UniformNumbersFillTheOpenUnitInterval) {
  const RandomStream stream(1, "uniform");
  double sum = 0.0;
  double squares = 0.0;
  for (std::uint64_t i = 0; i < kDraws; ++i) {
    const double value = stream.uniform(i);
    ASSERT_GT(value, 0.0);
    ASSERT_LT(value, 1.0);
    sum += value;
    squares += value * value;
  }
  // Five standard errors: the standard deviation of x is sqrt(1/12), of x^2 sqrt(4/45).
  const double root = std::sqrt(static_cast<double>(kDraws));
  EXPECT_NEAR(sum / kDraws, 1.0 / 2, 5 * std::sqrt(1.0 / 12) / root);
  EXPECT_NEAR(squares / kDraws, 1.0 / 3, 5 * std::sqrt(4.0 / 45) / root);
}

TEST(RandomStream, NormalNumbersHaveTheMomentsOfTheNormalDistribution) {
  const RandomStream stream(1, "normal");
  double powers[5] = {};
  double neighbours = 0.0;
  for (std::uint64_t i = 0; i < kDraws; ++i) {
    const double value = stream.normal(i);
    ASSERT_TRUE(std::isfinite(value));
    double power = 1.0;
    for (double& sum : powers) {
      sum += power;
      power *= value;
    }
    neighbours += value * stream.normal(i + 1);
  }
  // Five standard errors, from the variances of x^k: 1, 2, 15, 96.
  const double root = std::sqrt(static_cast<double>(kDraws));
  EXPECT_NEAR(powers[1] / kDraws, 0.0, 5 / root);
  EXPECT_NEAR(powers[2] / kDraws, 1.0, 5 * std::sqrt(2.0) / root);
  EXPECT_NEAR(powers[3] / kDraws, 0.0, 5 * std::sqrt(15.0) / root);
  EXPECT_NEAR(powers[4] / kDraws, 3.0, 5 * std::sqrt(96.0) / root);
  EXPECT_NEAR(neighbours / kDraws, 0.0, 5 / root);
}

class PermutationOfSize : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(PermutationOfSize, VisitsEveryPlaceOnce) {
  const std::uint64_t size = GetParam();
  const RandomPermutation permutation(size, 3, "data-order/epoch-0");
  std::vector<int> visits(size, 0);
  for (std::uint64_t i = 0; i < size; ++i) {
    const std::uint64_t place = permutation(i);
    ASSERT_LT(place, size);
    ++visits[place];
  }
  EXPECT_THAT(visits, ::testing::Each(1));
}

INSTANTIATE_TEST_SUITE_P(Sizes, PermutationOfSize, ::testing::Values(1, 2, 3, 7, 64, 1000, 4099),
                         [](const auto& size) { return std::to_string(size.param); });

TEST(RandomPermutation, DiffersBetweenNamesAndLeavesFewPlacesAlone) {
  constexpr std::uint64_t kSize = 4099;
  const RandomPermutation first(kSize, 3, "data-order/epoch-0");
  const RandomPermutation second(kSize, 3, "data-order/epoch-1");
  int fixed = 0;
  int shared = 0;
  int ascents = 0;
  for (std::uint64_t i = 0; i < kSize; ++i) {
    fixed += first(i) == i;
    shared += first(i) == second(i);
    ascents += i > 0 && first(i) > first(i - 1);
  }
  EXPECT_LT(fixed, 10);   // expected 1
  EXPECT_LT(shared, 10);  // expected 1
  EXPECT_NEAR(ascents, 2049, 5 * std::sqrt(4100.0 / 12));
}

TEST(RandomPermutation, RefusesWhatIsOutside) {
  EXPECT_THROW(RandomPermutation(0, 3, "empty"), Error);
  EXPECT_THROW(RandomPermutation(7, 3, "seven")(7), Error);
}

}  // namespace
}  // namespace headroom
