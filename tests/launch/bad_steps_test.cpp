// Steps that must not be made, and what a run does about many of them; and looking at one of them again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/launch/program.h"

namespace headroom::test {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

Outcome rehearse(const std::string& scenes, int ranks, const std::string& arguments) {
  return shell("HEADROOM_REHEARSE='" + scenes + "' " + HEADROOM_MPIRUN + " " + std::to_string(ranks) + " " +
               HEADROOM_BINARY + " " + arguments);
}

std::vector<json> records_of(const std::filesystem::path& run) {
  std::vector<json> records;
  std::ifstream metrics(run / "metrics.jsonl");
  for (std::string line; std::getline(metrics, line);) {
    json record = json::parse(line);
    if (record.contains("step") || record.contains("event")) records.push_back(std::move(record));
  }
  return records;
}

TEST(BadSteps, ANaNOnOneRankIsLeftOutByAllAndNamed) {
  const Workspace here;
  for (const int tensor : {1, 2}) {
    const std::string name = "run" + std::to_string(tensor);
    const Outcome outcome = rehearse("nan step=4 rank=1", 2,
                                     "train " + here.config(name) + " --set parallel.tensor=" + std::to_string(tensor));
    ASSERT_EQ(outcome.status, 0) << outcome.output;
    EXPECT_THAT(outcome.output, AllOf(HasSubstr("step 4 is not made: loss"), HasSubstr("not both finite"),
                                      HasSubstr("samples 24 to 31 of the training order")));
    const std::vector<json> records = records_of(here.run(name));
    ASSERT_EQ(records.size(), 8U);
    EXPECT_EQ(records[3].at("not_made").at("first_sample"), 24);
    EXPECT_EQ(records[3].at("not_made").at("samples"), 8);
    for (const std::size_t good : {2U, 4U, 7U}) EXPECT_FALSE(records[good].contains("not_made"));
    EXPECT_TRUE(records[7].at("loss").is_number());
  }
}

TEST(BadSteps, ManyInARowEndTheRunAsDiverged) {
  const Workspace here;
  const Outcome outcome = rehearse("nan step=4-8", 2, "train " + here.config("run"));
  EXPECT_EQ(outcome.status, 6) << outcome.output;
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("3 steps in a row, 4 to 6, were not made"), HasSubstr("headroom rerun")));
  EXPECT_EQ(steps_in(here.run("run")), 6);
}

TEST(BadSteps, ASpikeOfTheGradientIsLeftOutByTheWindowsMeasure) {
  const Workspace here;
  const Outcome outcome = rehearse(
      "spike step=14 rank=1", 2,
      "train " + here.config("run") + " --set train.steps=16 --set bad_steps.spike=6 --set bad_steps.window=16");
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("step 14 is not made: gradient norm"));
  const std::vector<json> records = records_of(here.run("run"));
  for (std::size_t step = 0; step < 16; ++step) EXPECT_EQ(records[step].contains("not_made"), step == 13) << step;
}

// Back to step 6 and on without the samples of steps 8 to 10: the run ends at its last step, and the steps after the
// rollback have taken the samples that follow.
TEST(BadSteps, ARollbackLeavesTheirSamplesOutAndGoesOn) {
  const Workspace here;
  const std::string settings =
      "train.steps = 16\ncheckpoint.every = 3\nbad_steps.then = \"rollback\"\nbad_steps.patience = 3\n";
  const Outcome outcome = rehearse("nan step=8-10", 2, "train " + here.config("run", settings));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("back to step 6, leaving their samples out (1 of 3 rollbacks)"));
  const std::vector<json> records = records_of(here.run("run"));
  ASSERT_EQ(records.size(), 17U);
  EXPECT_EQ(records[6].at("event"), "rollback");
  EXPECT_EQ(records[6].at("samples_left_out"), json::parse("[[56,8],[64,8],[72,8]]"));
  for (std::size_t index = 7; index < records.size(); ++index) EXPECT_FALSE(records[index].contains("not_made"));

  // A run over the same samples without the bad ones: steps 8 on take what steps 11 on took there.
  const Outcome plain = headroom_ranks(2, "train " + here.config("plain", settings) + " --set train.steps=19");
  ASSERT_EQ(plain.status, 0) << plain.output;
  const std::vector<json> others = records_of(here.run("plain"));
  EXPECT_EQ(records[7].at("batch_crc"), others[6].at("batch_crc"));    // step 7, again
  EXPECT_EQ(records[8].at("batch_crc"), others[10].at("batch_crc"));   // step 8: the samples of step 11
  EXPECT_EQ(records[16].at("batch_crc"), others[18].at("batch_crc"));  // step 16: those of step 19
}

// A second one to the same checkpoint leaves out what the first one did, too.
TEST(BadSteps, ASecondRollbackRemembersTheFirst) {
  const Workspace here;
  const std::string settings = "train.steps = 14\ncheckpoint.every = 6\nbad_steps.then = \"rollback\"\n";
  const Outcome outcome = rehearse("nan step=8-10; nan step=11-13", 2, "train " + here.config("run", settings));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("back to step 6, leaving their samples out (2 of 3 rollbacks)"));
  const Outcome plain = headroom_ranks(2, "train " + here.config("plain", settings) + " --set train.steps=20");
  ASSERT_EQ(plain.status, 0) << plain.output;
  std::vector<json> steps = records_of(here.run("run"));
  std::erase_if(steps, [](const json& record) { return record.contains("event"); });
  const std::vector<json> others = records_of(here.run("plain"));
  // Step 8 takes the samples of step 11 there, as after the first rollback; step 11 those of step 17.
  const int taken[] = {1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 17, 18, 19, 20};
  ASSERT_EQ(steps.size(), std::size(taken));
  for (std::size_t step = 0; step < steps.size(); ++step) {
    EXPECT_EQ(steps[step].at("batch_crc"), others[static_cast<std::size_t>(taken[step]) - 1].at("batch_crc"))
        << step + 1;
  }
}

// A stop between bad steps saves the run as it is; going on, the count goes on, and what was saved between them is not
// what a rollback goes back to.
TEST(BadSteps, AStopBetweenThemChangesNothing) {
  const Workspace here;
  const std::string settings = "train.steps = 16\ncheckpoint.every = 3\n";
  const auto stopped_after_two = [&](const std::string& name, const std::string& more) {
    const Outcome stopped = rehearse("nan step=8-9; stop step=9", 1, "train " + here.config(name, settings + more));
    EXPECT_EQ(stopped.status, 75) << stopped.output;
    return rehearse("nan step=10", 1, "train " + here.config(name, settings + more) + " --resume");
  };
  const Outcome diverged = stopped_after_two("stop", "");
  EXPECT_EQ(diverged.status, 6) << diverged.output;
  EXPECT_THAT(diverged.output, HasSubstr("3 steps in a row, 8 to 10, were not made"));

  const Outcome back = stopped_after_two("rollback", "bad_steps.then = \"rollback\"\n");
  EXPECT_EQ(back.status, 0) << back.output;
  EXPECT_THAT(back.output, HasSubstr("back to step 6"));
  EXPECT_TRUE(std::filesystem::exists(here.run("rollback") / "checkpoints/step-00000009.taken-back"));

  const Outcome whole =
      rehearse("nan step=8-10", 1, "train " + here.config("whole", settings + "bad_steps.then = \"rollback\"\n"));
  ASSERT_EQ(whole.status, 0) << whole.output;
  EXPECT_EQ(results_of(here.run("rollback")), results_of(here.run("whole")));
}

TEST(BadSteps, RollbacksThatDoNotHelpEndTheRun) {
  const Workspace here;
  const std::string settings = "train.steps = 16\ncheckpoint.every = 3\nbad_steps.then = \"rollback\"\n";
  const Outcome outcome =
      rehearse("nan step=8-10", 1, "train " + here.config("run", settings) + " --set bad_steps.rollbacks=0");
  EXPECT_EQ(outcome.status, 6) << outcome.output;
  const Outcome nowhere = rehearse("nan step=1-3", 1, "train " + here.config("fresh", settings));
  EXPECT_EQ(nowhere.status, 6) << nowhere.output;
  EXPECT_THAT(nowhere.output, HasSubstr("there is no checkpoint to go back to"));
}

TEST(Rerun, AStepHasTheSameBitsAndSnapshotsOfItsOwnSequences) {
  const Workspace here;
  const std::string config = here.config("run", "train.steps = 12\ncheckpoint.every = 4\ncheckpoint.keep = 3\n");
  ASSERT_EQ(headroom_ranks(2, "train " + config).status, 0);
  const std::string metrics = content_of(here.run("run") / "metrics.jsonl");
  for (const int step : {2, 7}) {  // from the beginning, from step 4
    const Outcome again = headroom_ranks(2, "rerun " + here.run("run").string() + " --step " + std::to_string(step));
    ASSERT_EQ(again.status, 0) << again.output;
    EXPECT_THAT(again.output, AllOf(HasSubstr("as recorded"), Not(HasSubstr("(recorded:"))));
    const auto target = here.run("run") / ("reruns/step-0000000" + std::to_string(step));
    EXPECT_TRUE(std::filesystem::exists(target / ("snapshots/step-0000000" + std::to_string(step - 1) + ".h5")));
    EXPECT_TRUE(std::filesystem::exists(target / ("snapshots/step-0000000" + std::to_string(step) + ".h5")));
  }
  EXPECT_EQ(content_of(here.run("run") / "metrics.jsonl"), metrics);
  const Outcome beyond = headroom("rerun " + here.run("run").string() + " --step 13");
  EXPECT_EQ(beyond.status, 3) << beyond.output;
  EXPECT_THAT(beyond.output, HasSubstr("the run has steps 1 to 12, not 13"));
}

}  // namespace
}  // namespace headroom::test
