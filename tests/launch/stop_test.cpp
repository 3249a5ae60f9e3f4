// Being asked to stop: the run saves itself and leaves with the requeue code; started again it ends as if nothing had
// been.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <csignal>

#include "tests/launch/program.h"

namespace headroom::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kRequeue = 75;

// Long enough that a signal finds it running; evaluations and snapshots take up most of it.
constexpr const char* kSettings =
    "train.steps = 60\neval.every = 2\neval.windows = 0\nsnapshot.every = 5\ncheckpoint.every = 7\n";

// Starts a run on so many ranks and sends each of them `signal` as soon as the shell condition `until` holds. `$run` is
// the run's directory there, `$ranks` the ranks' processes.
Outcome train_and_signal(const Workspace& here, const std::string& name, int ranks, const std::string& signal,
                         const std::string& until, const std::string& more = "") {
  const std::string config = here.config(name, kSettings);
  // Steps of some length, so that a signal finds the run under way on a machine that is busy with others, too.
  return shell("run=" + here.run(name).string() + "\nHEADROOM_REHEARSE='delay step=1-60 seconds=0.03' " +
               HEADROOM_MPIRUN " " + std::to_string(ranks) + " " HEADROOM_BINARY " train " + config + " " + more +
               " & launcher=$!\n" + "until " + until + "; do kill -0 $launcher || exit 3; done\n" +
               "ranks=$(pgrep -P $launcher)\n"
               "kill -" +
               signal +
               " $ranks\n"
               "wait $launcher");
}

std::string steps_reach(int steps) {
  return "[ \"$(cat $run/metrics.jsonl 2>/dev/null | grep -c '^{\"step')\" -ge " + std::to_string(steps) + " ]";
}

class Stopped : public testing::TestWithParam<std::string> {};

TEST_P(Stopped, SavesItselfAndGoesOnToTheSameBits) {
  const Workspace here;
  ASSERT_EQ(headroom_ranks(2, "train " + here.config("whole", kSettings)).status, 0);

  const Outcome stopped = train_and_signal(here, "stopped", 2, GetParam(), steps_reach(13));
  ASSERT_EQ(stopped.status, kRequeue) << stopped.output;
  EXPECT_THAT(stopped.output, AllOf(HasSubstr("stopped by SIG" + GetParam()), HasSubstr("--resume")));
  EXPECT_FALSE(std::filesystem::exists(here.run("stopped") / "finished"));
  EXPECT_LT(steps_in(here.run("stopped")), 60);

  const Outcome resumed = headroom_ranks(2, "train " + here.config("stopped", kSettings) + " --resume");
  ASSERT_EQ(resumed.status, 0) << resumed.output;
  EXPECT_EQ(results_of(here.run("stopped")), results_of(here.run("whole")));
  const Outcome same = compare_checkpoints(here.run("stopped"), here.run("whole"));
  EXPECT_EQ(same.status, 0) << same.output;
}

INSTANTIATE_TEST_SUITE_P(Signals, Stopped, testing::Values("TERM", "INT", "USR1"));

// A stop between a step and its evaluation or snapshot leaves the step's record to the resumed run. With evaluations
// that take far longer than steps, that is where it lands.
TEST(Stop, InTheMiddleOfAnEvaluationTheStepsRecordIsFinishedLater) {
  const Workspace here;
  const std::string slow = " --set eval.every=1 --set train.micro_batch=1 --set snapshot.every=0 --set train.steps=20";
  ASSERT_EQ(headroom_ranks(2, "train " + here.config("whole", kSettings) + slow).status, 0);
  const Outcome stopped = train_and_signal(here, "stopped", 2, "TERM", steps_reach(3), slow);
  ASSERT_EQ(stopped.status, kRequeue) << stopped.output;
  const Outcome kept = headroom("inspect " + here.run("stopped").string());
  EXPECT_THAT(kept.output, HasSubstr("unfinished"));
  const Outcome resumed = headroom_ranks(2, "train " + here.config("stopped", kSettings) + slow + " --resume");
  ASSERT_EQ(resumed.status, 0) << resumed.output;
  EXPECT_EQ(results_of(here.run("stopped")), results_of(here.run("whole")));
}

// Again and again, a few steps at a time.
TEST(Stop, ARunThatIsStoppedManyTimesEndsLikeOneThatIsNot) {
  const Workspace here;
  ASSERT_EQ(headroom_ranks(2, "train " + here.config("whole", kSettings)).status, 0);
  Outcome last{kRequeue, ""};
  for (int reached = 5; last.status == kRequeue && reached < 60; reached += 17) {
    last = train_and_signal(here, "stopped", 2, "USR1", steps_reach(reached), reached == 5 ? "" : "--resume");
  }
  ASSERT_EQ(last.status, kRequeue) << last.output;
  last = headroom_ranks(2, "train " + here.config("stopped", kSettings) + " --resume");
  ASSERT_EQ(last.status, 0) << last.output;
  EXPECT_EQ(results_of(here.run("stopped")), results_of(here.run("whole")));
}

// The script's words that send the signal to $pid until it is gone.
std::string again_and_again(const std::string& signal) {
  return "while kill -" + signal + " $pid 2>/dev/null; do :; done; wait $pid";
}

TEST(Stop, ASecondInterruptEndsTheProcessAtOnce) {
  const Workspace here;
  // A rank that hangs cannot save itself.
  const std::string config = here.config("run", kSettings);
  const Outcome outcome = shell(
      "run=" + here.run("run").string() + "\nHEADROOM_REHEARSE='hang step=3' " HEADROOM_BINARY " train " + config +
      " & pid=$!\nuntil " + steps_reach(2) + "; do kill -0 $pid || exit 3; done\n" + again_and_again("INT"));
  EXPECT_EQ(outcome.status, 128 + SIGINT) << outcome.output;
}

// Schedulers warn and then terminate, scripts pass on what they get: none of it may cut the checkpoint short.
TEST(Stop, OtherSignalsMayComeAgainAndAgain) {
  const Workspace here;
  for (const char* signal : {"USR1", "TERM"}) {
    const std::string name = std::string("run-") + signal;
    const Outcome outcome =
        shell("run=" + here.run(name).string() + "\n" HEADROOM_BINARY " train " + here.config(name, kSettings) +
              " & pid=$!\nuntil " + steps_reach(3) + "; do kill -0 $pid || exit 3; done\n" + again_and_again(signal));
    EXPECT_EQ(outcome.status, kRequeue) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr("checkpoint"));
  }
}

TEST(Stop, ASignalOfTheUsersChoiceIsLeftAloneWhenNotChosen) {
  const Workspace here;
  const Outcome outcome = train_and_signal(here, "run", 2, "USR2", steps_reach(3), "--set faults.signal=none");
  EXPECT_NE(outcome.status, kRequeue) << outcome.output;
  EXPECT_NE(outcome.status, 0) << outcome.output;  // an unhandled signal ends a process
}

}  // namespace
}  // namespace headroom::test
