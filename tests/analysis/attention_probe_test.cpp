// Attention masses on a case small enough to add up by hand.
#include "analysis/attention_probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace headroom {
namespace {

using ::testing::DoubleEq;
using ::testing::ElementsAre;

TEST(HeadMasses, AThreeTokenSequenceInAMapOfFour) {
  // Rows and the bias slot sum to 1; the fourth token is padding and must not count.
  const std::vector<double> map = {0.75, 0,     0,   0,  //
                                   0.5,  0.25,  0,   0,  //
                                   0.25, 0.125, 0.5, 0,  //
                                   9,    9,     9,   9};
  const std::vector<double> bias = {0.25, 0.25, 0.125, 9};
  const HeadMasses masses = head_masses<double>(map, 4, 3, bias);
  EXPECT_DOUBLE_EQ(masses.first, (0.5 + 0.25) / 2);
  EXPECT_DOUBLE_EQ(masses.bias, (0.25 + 0.125) / 2);
  EXPECT_DOUBLE_EQ(masses.rest, (0.25 + 0.125 + 0.5) / 2);
  EXPECT_DOUBLE_EQ(masses.first + masses.bias + masses.rest, 1.0);
  EXPECT_DOUBLE_EQ(masses.bias_all, (0.25 + 0.25 + 0.125) / 3);
  EXPECT_THAT(masses.key_mass, ElementsAre(DoubleEq(1.5 / 3), DoubleEq(0.375 / 2), DoubleEq(0.5)));
}

TEST(HeadMasses, WithoutABiasSlotItsMassIsZero) {
  const std::vector<float> map = {1, 0, 0.5f, 0.5f};
  const HeadMasses masses = head_masses<float>(map, 2, 2, {});
  EXPECT_EQ(masses.first, 0.5);
  EXPECT_EQ(masses.rest, 0.5);
  EXPECT_EQ(masses.bias, 0.0);
  EXPECT_EQ(masses.bias_all, 0.0);
}

TEST(HeadMasses, SinksAreOfTheFirst64QueriesHoweverLongTheSequence) {
  // The first 64 queries give half to key 0, the next 36 nothing; a quarter each to the bias slot, then none.
  constexpr std::int64_t kTokens = 100;
  std::vector<double> map(kTokens * kTokens, 0.0);
  std::vector<double> bias(kTokens, 0.0);
  for (std::size_t query = 0; query < kTokens; ++query) {
    const bool early = query < kSinkTokens;
    map[query * kTokens] = early ? 0.5 : 0.0;
    map[query * kTokens + query] += early ? 0.25 : 1.0;
    bias[query] = early ? 0.25 : 0.0;
  }
  const HeadMasses masses = head_masses<double>(map, kTokens, kTokens, bias);
  ASSERT_EQ(masses.sink_mass.size(), 64u);
  EXPECT_DOUBLE_EQ(masses.sink_mass[0], (0.75 + 63 * 0.5) / 64);
  EXPECT_DOUBLE_EQ(masses.sink_mass[63], 0.25);  // the query at it is the only one
  EXPECT_DOUBLE_EQ(masses.sink_bias, 0.25);
  EXPECT_DOUBLE_EQ(masses.key_mass[0], (0.75 + 63 * 0.5) / 100);  // over the whole window
  EXPECT_DOUBLE_EQ(masses.bias_all, 64 * 0.25 / 100);
}

TEST(HeadMasses, OfAShorterSequenceAllQueriesCount) {
  const std::vector<double> map = {1, 0, 0.5, 0.5};
  const HeadMasses masses = head_masses<double>(map, 2, 2, {});
  EXPECT_EQ(masses.sink_mass, masses.key_mass);
}

TEST(HeadMasses, ASingleTokenHasNoChoice) {
  const std::vector<float> map = {1};
  const HeadMasses masses = head_masses<float>(map, 1, 1, {});
  EXPECT_TRUE(std::isnan(masses.first));
  EXPECT_TRUE(std::isnan(masses.rest));
  EXPECT_THAT(masses.key_mass, ElementsAre(1.0));
}

TEST(HeadMasses, AMapThatIsTooSmallIsABug) {
  const std::vector<float> map(4);
  EXPECT_THROW(head_masses<float>(map, 2, 3, {}), Error);
}

}  // namespace
}  // namespace headroom
