// Which ranks count as slower than the others.
#include "trainer/stragglers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace headroom {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const std::vector<std::string> kHosts = {"n0", "n0", "n1", "n1", "n2"};

std::vector<Straggler> found_among(const std::vector<double>& busy, double ratio) {
  return find_stragglers(busy, std::span(kHosts).first(busy.size()), ratio);
}

TEST(FindStragglers, NamesWhoIsBusierThanTheMedianByTheRatio) {
  EXPECT_THAT(found_among({9.0, 10.0, 25.0, 10.0, 16.0}, 1.5),
              ElementsAre(Straggler{2, "n1", 2.5}, Straggler{4, "n2", 1.6}));
}

TEST(FindStragglers, TheRatioItselfIsStillFine) {
  EXPECT_THAT(found_among({10.0, 10.0, 15.0}, 1.5), IsEmpty());
  EXPECT_THAT(found_among({10.0, 10.0, 15.5}, 1.5), ElementsAre(Straggler{2, "n1", 1.55}));
}

// Of two ranks one is the slower: the upper of the two medians would be itself.
TEST(FindStragglers, TheMedianOfAnEvenNumberIsTheLower) {
  EXPECT_THAT(found_among({2.0, 8.0}, 1.5), ElementsAre(Straggler{1, "n0", 4.0}));
  EXPECT_THAT(found_among({8.0, 1.0, 8.0, 2.0}, 1.5), ElementsAre(Straggler{0, "n0", 4.0}, Straggler{2, "n1", 4.0}));
}

TEST(FindStragglers, NobodyAloneOrAmongIdleOnes) {
  EXPECT_THAT(found_among({7.0}, 1.5), IsEmpty());
  EXPECT_THAT(found_among({0.0, 0.0, 1.0}, 1.5), IsEmpty()) << "no ratio to nothing";
}

TEST(FindStragglers, ATimeARankIsDemanded) {
  EXPECT_THROW(find_stragglers(std::vector<double>{1.0, 2.0}, std::span(kHosts).first(1), 1.5), Error);
}

TEST(Straggler, IsDescribedForAWarning) {
  EXPECT_EQ(describe(Straggler{5, "n2", 1.8}), "rank 5 on n2 is busy 1.8 times as long as the median rank");
}

}  // namespace
}  // namespace headroom
