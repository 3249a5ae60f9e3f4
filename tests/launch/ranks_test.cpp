// Ranks that are late, hang or die in the middle of training.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "tests/launch/program.h"

namespace headroom::test {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

Outcome rehearse(const std::string& scene, int ranks, const std::string& arguments) {
  return shell("HEADROOM_REHEARSE='" + scene + "' " + HEADROOM_MPIRUN + " " + std::to_string(ranks) + " " +
               HEADROOM_BINARY + " " + arguments);
}

TEST(Ranks, ALateOneIsNamedInMetricsAndLog) {
  const Workspace here;
  const Outcome outcome =
      rehearse("delay step=1-8 rank=1 seconds=0.1", 3,
               "train " + here.config("run", "train.global_batch = 6\nfaults.straggler_window = 8\n"));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("rank 1 on "));
  std::vector<json> records;
  std::ifstream metrics(here.run("run") / "metrics.jsonl");
  for (std::string line; std::getline(metrics, line);) records.push_back(json::parse(line));
  ASSERT_EQ(records.size(), 9U);
  ASSERT_TRUE(records[8].contains("stragglers")) << records[8];
  ASSERT_EQ(records[8].at("stragglers").size(), 1U);
  EXPECT_EQ(records[8].at("stragglers")[0].at("rank"), 1);
  EXPECT_GT(records[8].at("stragglers")[0].at("ratio"), 1.5);
  EXPECT_FALSE(records[7].contains("stragglers"));
}

// The others say in what they wait, for whom, in which step, and end the job.
TEST(Ranks, OneThatNeverComesEndsTheJobWithWhatIsKnown) {
  const Workspace here;
  const Outcome outcome = rehearse("hang step=3 rank=1", 2, "train " + here.config("run") + " --set faults.timeout=2");
  EXPECT_EQ(outcome.status, 7) << outcome.output;
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("error: rank 0 of 2"), HasSubstr("not called by rank 1"),
                                    HasSubstr("step 3"), HasSubstr("faults.timeout")));
  EXPECT_EQ(steps_in(here.run("run")), 2);
}

TEST(Ranks, OneThatIsKilledEndsTheOthersAndIsNamed) {
  const Workspace here;
  const auto begin = std::chrono::steady_clock::now();
  const Outcome outcome = rehearse("kill step=3 rank=2", 3, "train " + here.config("run", "train.global_batch = 6\n"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
  EXPECT_EQ(outcome.status, 128 + 9) << outcome.output;
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("rank 2"), HasSubstr("signal 9")));
}

}  // namespace
}  // namespace headroom::test
