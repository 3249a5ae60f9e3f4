// headroom preflight as a job's script calls it, on nodes that are pretended.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/launch/program.h"

namespace headroom::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Preflight : public testing::Test {
 protected:
  // A rank on each of the nodes n1, n2, ... that one after another `ranks` names.
  Outcome on_nodes(const std::vector<int>& ranks, const std::string& rehearsal = "",
                   const std::string& more = "") const {
    std::string command = "HEADROOM_REHEARSE='" + rehearsal + "' ";
    for (std::size_t node = 0; node < ranks.size(); ++node) {
      const std::string name = "n" + std::to_string(node + 1);
      command += (node == 0 ? std::string(HEADROOM_MPIRUN) : std::string(" : -n")) + " " + std::to_string(ranks[node]) +
                 " -x SLURMD_NODENAME=" + name + " " HEADROOM_BINARY " preflight --directory " +
                 scratch_.path().string() + " --record " + (scratch_ / "record.json").string() + " --bad-nodes " +
                 (scratch_ / "bad").string() + " --slow-ratio 20 " + more;
    }
    return shell(command);
  }
  nlohmann::json record() const { return nlohmann::json::parse(content_of(scratch_ / "record.json")); }
  std::string bad_nodes() const { return content_of(scratch_ / "bad"); }

  Scratch scratch_;
};

TEST_F(Preflight, OfFitNodesSaysWhatTheyHaveAndMeasure) {
  const Outcome fit = on_nodes({2, 1, 1});
  EXPECT_EQ(fit.status, 0) << fit.output;
  EXPECT_THAT(fit.output, AllOf(HasSubstr("n1: ranks 0-1; n2: rank 2; n3: rank 3"), HasSubstr("GFLOP/s"),
                                HasSubstr("GB/s"), HasSubstr("preflight: fit (3 nodes, 4 ranks")));
  EXPECT_EQ(bad_nodes(), "");
  EXPECT_EQ(record()["nodes"].size(), 3U);
  for (const auto& entry : std::filesystem::directory_iterator(scratch_.path())) {
    EXPECT_THAT(entry.path().filename().string(), testing::AnyOf("record.json", "bad")) << "left behind";
  }
}

TEST_F(Preflight, ASlowNodeIsNamedWithWhatItWasComparedWith) {
  const Outcome slow = on_nodes({1, 1, 1}, "slow-node node=n2 ratio=1000");
  EXPECT_EQ(slow.status, 75) << slow.output;
  EXPECT_THAT(slow.output, AllOf(HasSubstr("n2 is slow"), HasSubstr("--exclude=n2")));
  EXPECT_EQ(bad_nodes(), "n2\n");
}

TEST_F(Preflight, ASlowNodeIsFitWhereThereIsNoOther) {
  const Outcome slow = on_nodes({1, 1, 1}, "slow-node node=n2 ratio=1000", "--tolerate-slow");
  EXPECT_EQ(slow.status, 0) << slow.output;
  EXPECT_THAT(slow.output, HasSubstr("n2 is slow"));
  EXPECT_EQ(bad_nodes(), "");
}

TEST_F(Preflight, ANodeThatCannotWriteIsBroken) {
  const Outcome broken = on_nodes({1, 1}, "broken-disk node=n1");
  EXPECT_EQ(broken.status, 75) << broken.output;
  EXPECT_THAT(broken.output, HasSubstr("n1 is broken"));
  EXPECT_EQ(bad_nodes(), "n1\n");
}

TEST_F(Preflight, AFullDiskIsNoFaultOfTheOnlyNode) {
  const Outcome full = on_nodes({2}, "full-disk node=n1");
  EXPECT_EQ(full.status, 9) << full.output;
  EXPECT_EQ(bad_nodes(), "");
}

TEST_F(Preflight, AClockThatIsOffIsSaidAndNoReasonToLeave) {
  const Outcome off = on_nodes({1, 1}, "skew node=n2 seconds=9");
  EXPECT_EQ(off.status, 0) << off.output;
  EXPECT_THAT(off.output, AllOf(HasSubstr("n2"), HasSubstr("clock")));
  EXPECT_EQ(bad_nodes(), "");
}

TEST_F(Preflight, WhatHangsIsNamedWhenTheTimeIsOver) {
  const Outcome stuck = on_nodes({1, 1}, "stuck-node node=n2", "--timeout 2");
  EXPECT_EQ(stuck.status, 7) << stuck.output;
  EXPECT_THAT(stuck.output, AllOf(HasSubstr("the preflight is not over after"), HasSubstr("n2")));
  EXPECT_EQ(bad_nodes(), "n2\n");
}

TEST_F(Preflight, OneRankAloneIsEnough) {
  const Outcome alone = headroom("preflight --directory " + scratch_.path().string());
  EXPECT_EQ(alone.status, 0) << alone.output;
  EXPECT_THAT(alone.output, HasSubstr("preflight: fit (1 node, 1 rank"));
}

TEST_F(Preflight, ADirectoryThatIsNotThereIsRefused) {
  const Outcome missing = headroom("preflight --directory " + (scratch_ / "nowhere").string());
  EXPECT_NE(missing.status, 0);
  EXPECT_THAT(missing.output, HasSubstr("nowhere"));
}

// As srun without PMIx starts them: each would take the whole run for itself.
TEST_F(Preflight, ProcessesThatFindNobodyAreRefusedByEveryVerbOnRanks) {
  const Workspace here;
  const std::string config = here.config("lonely");
  const std::string step = "SLURM_JOB_ID=7 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=4 ";
  for (const std::string& verb : {"train " + config, std::string("preflight"), "bench " + config}) {
    const Outcome first = shell(step + "SLURM_PROCID=0 " HEADROOM_BINARY " " + verb);
    EXPECT_EQ(first.status, 2) << first.output;
    EXPECT_THAT(first.output, AllOf(HasSubstr("srun started 4 processes"), HasSubstr("srun --mpi=pmix"))) << verb;
    const Outcome other = shell(step + "SLURM_PROCID=3 " HEADROOM_BINARY " " + verb);
    EXPECT_EQ(other.status, 2);
    EXPECT_EQ(other.output, "") << "one of them is enough";
  }
  EXPECT_FALSE(std::filesystem::exists(here.run("lonely")));
}

}  // namespace
}  // namespace headroom::test
