// Which nodes a preflight calls slow or broken.
#include "trainer/preflight_verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace headroom {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::size_t> slow(const std::vector<double>& speeds) {
  std::vector<std::size_t> nodes;
  for (const SlowNode& one : slow_nodes(speeds, 3.0)) nodes.push_back(one.node);
  return nodes;
}

TEST(SlowNodes, AreThoseFarBelowTheOthers) {
  EXPECT_THAT(slow({100}), IsEmpty()) << "nothing to compare with";
  EXPECT_THAT(slow({100, 34}), IsEmpty());
  EXPECT_THAT(slow({100, 33}), ElementsAre(1));
  EXPECT_THAT(slow({20, 100, 90}), ElementsAre(0));
  EXPECT_THAT(slow({100, 90, 95, 10, 99, 101, 12}), ElementsAre(3, 6));
}

TEST(SlowNodes, AllSlowAlikeAreNone) {
  EXPECT_THAT(slow({5, 5, 5, 5}), IsEmpty());
}

TEST(SlowNodes, OneFastNodeMakesNoSlowOnes) {
  EXPECT_THAT(slow({1000, 100, 100}), IsEmpty());
  EXPECT_THAT(slow({1000, 100, 100, 100, 100, 100, 100, 100}), IsEmpty());
}

TEST(SlowNodes, WhatWasNotMeasuredIsNeitherJudgedNorComparedWith) {
  EXPECT_THAT(slow({100, kNotMeasured, 90}), IsEmpty());
  EXPECT_THAT(slow({kNotMeasured, 100}), IsEmpty());
  EXPECT_THAT(slow({100, 0}), ElementsAre(1)) << "zero is the slowest there is";
}

TEST(SlowNodes, OfARingAreThoseAllOfWhoseExchangesAreSlow) {
  const auto nodes_of = [](std::vector<PairFigures> pairs, std::size_t nodes) {
    std::vector<std::size_t> found;
    for (const SlowNode& one : slow_nodes(pairs, nodes, 3.0)) found.push_back(one.node);
    return found;
  };
  EXPECT_THAT(nodes_of({{0, 1, 10}, {1, 2, 10}, {2, 3, 1}, {3, 0, 1}}, 4), ElementsAre(3));
  EXPECT_THAT(nodes_of({{0, 1, 10}, {1, 2, 10}, {2, 3, 1}, {3, 0, 10}}, 4), IsEmpty()) << "a link, not a node";
  EXPECT_THAT(nodes_of({{0, 1, 1}}, 2), IsEmpty()) << "which of two it is cannot be told";
}

// Three nodes, a rank each, that have everything.
PreflightFigures fit_figures() {
  PreflightFigures figures;
  for (std::size_t node = 0; node < 3; ++node) {
    RankFigures& rank = figures.ranks.emplace_back();
    rank.node = node;
    rank.program = "headroom 1";
    rank.libraries = "MPI 4";
    rank.gpus = "none";
    rank.product = 1e11;
    NodeFigures one;
    one.name = "n" + std::to_string(node + 1);
    one.ranks = {static_cast<int>(node)};
    one.write = 1e9;
    one.read = 2e9;
    figures.nodes.push_back(one);
  }
  figures.device = "cpu";
  return figures;
}

TEST(PreflightVerdict, OfNodesThatAreAlikeIsThatTheyAreFit) {
  const PreflightVerdict verdict = judge(fit_figures(), {});
  EXPECT_THAT(verdict.findings, IsEmpty());
  EXPECT_THAT(verdict.warnings, IsEmpty());
}

TEST(PreflightVerdict, NamesTheNodeThatLacksSomething) {
  PreflightFigures figures = fit_figures();
  figures.nodes[1].disk_trouble = "read-only file system";
  const PreflightVerdict verdict = judge(figures, {});
  ASSERT_THAT(verdict.bad_nodes(), ElementsAre(1));
  EXPECT_EQ(verdict.fitness(1), Fitness::broken);
  EXPECT_THAT(verdict.findings[0].text, HasSubstr("read-only file system"));

  figures = fit_figures();
  figures.ranks[2].program = "headroom 2";
  EXPECT_THAT(judge(figures, {}).bad_nodes(), ElementsAre(2));

  figures = fit_figures();
  figures.ranks[0].product = 1e10;
  const PreflightVerdict slow_one = judge(figures, {});
  ASSERT_THAT(slow_one.bad_nodes(), ElementsAre(0));
  EXPECT_EQ(slow_one.fitness(0), Fitness::slow);
}

TEST(PreflightVerdict, ANodeWithFewerGpusThanRanksIsBroken) {
  PreflightFigures figures = fit_figures();
  figures.nodes.pop_back();
  figures.nodes[0].ranks = {0, 1};
  figures.nodes[1].ranks = {2};
  const auto with_gpus = [&](int each) {
    for (RankFigures& one : figures.ranks) one.gpu_count = each;
    return judge(figures, {}).bad_nodes();
  };
  EXPECT_THAT(with_gpus(2), IsEmpty());
  EXPECT_THAT(with_gpus(1), IsEmpty()) << "shared out by the launcher";
  figures.nodes[0].ranks = {0, 1, 2};
  figures.nodes[1].ranks = {2};
  EXPECT_THAT(with_gpus(2), ElementsAre(0));
}

TEST(PreflightVerdict, AClockThatIsAheadIsAWarningOnly) {
  PreflightFigures figures = fit_figures();
  figures.nodes[2].clock.seconds = 5.0;
  const PreflightVerdict verdict = judge(figures, {});
  EXPECT_THAT(verdict.bad_nodes(), IsEmpty());
  EXPECT_THAT(verdict.warnings, ElementsAre(HasSubstr("n3")));
}

TEST(PreflightVerdict, ADirectoryThatNoNodeCanWriteIsNoNodesFault) {
  PreflightFigures figures = fit_figures();
  for (NodeFigures& node : figures.nodes) node.disk_trouble = "no space left";
  const PreflightVerdict verdict = judge(figures, {});
  EXPECT_THAT(verdict.bad_nodes(), IsEmpty());
  EXPECT_THAT(verdict.disk_trouble, HasSubstr("no space left"));
}

}  // namespace
}  // namespace headroom
