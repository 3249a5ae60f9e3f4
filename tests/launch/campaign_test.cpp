// A campaign on this machine as a user runs it: every run is trained once, whatever happens to who drives it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/launch/program.h"

namespace headroom::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Two variants with two seeds of the workspace's model.
class Campaign : public testing::Test {
 protected:
  Campaign() { file_ = file("campaign"); }

  std::string file(const std::string& name, const std::string& more = "") const {
    const std::string base = here.config("base");
    return here
        .file(name + ".toml", "name = \"ablation\"\nbase = \"" + base + "\"\nseeds = [1, 2]\nresources.at_once = 2\n" +
                                  more +
                                  "\n[variants]\nplain = {}\nkv = { model.attention.kv_bias = \"kv\" }\n"
                                  "[set]\nparallel.tensor = 1\ncheckpoint.every = 2\n")
        .string();
  }

  std::string command(const std::string& action, const std::string& options = "") const {
    return std::string(HEADROOM_BINARY) + " campaign " + action + " " + file_ + " --dir " +
           (here / "campaigns").string() + " " + options;
  }
  Outcome campaign(const std::string& action, const std::string& options = "") const {
    return shell(kAsRoot + command(action, options));
  }

  std::filesystem::path directory() const { return here / "campaigns/ablation"; }
  std::filesystem::path run(const std::string& name) const { return directory() / "runs" / name; }
  std::string attempts(const std::string& name) const {
    return content_of(directory() / "journal" / (name + ".attempts.jsonl"));
  }

  // Each run is finished, trained each step once, and has the bits of one that was trained by itself.
  void expect_all_trained_once() const {
    for (const std::string variant : {"plain", "kv"}) {
      for (const std::string seed : {"1", "2"}) {
        const std::string name = variant + "-seed" + seed;
        EXPECT_TRUE(std::filesystem::exists(run(name) / "finished")) << name;
        const std::string alone = "alone-" + name;
        const std::string config =
            here.config(alone, "seed = " + seed + "\ncheckpoint.every = 2\n" +
                                   (variant == "kv" ? "model.attention.kv_bias = \"kv\"\n" : ""));
        if (!std::filesystem::exists(here.run(alone))) {
          const Outcome trained =
              shell(kAsRoot + "taskset --cpu-list 0 " HEADROOM_MPIRUN " 1 " HEADROOM_BINARY " train " + config);
          ASSERT_EQ(trained.status, 0) << trained.output;
        }
        EXPECT_EQ(results_of(run(name)), results_of(here.run(alone))) << name;
      }
    }
  }

  const std::string kAsRoot = "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1\n";
  Workspace here;
  std::string file_;
};

TEST_F(Campaign, TrainsEveryRunOnceAndReports) {
  const Outcome planned = campaign("plan");
  EXPECT_EQ(planned.status, 0);
  EXPECT_THAT(planned.output, AllOf(HasSubstr("4 runs"), HasSubstr("plain"), HasSubstr("memory")));
  const Outcome trained = campaign("run");
  ASSERT_EQ(trained.status, 0) << trained.output;
  EXPECT_THAT(trained.output, HasSubstr("report/index.html"));
  expect_all_trained_once();
  const std::string before = attempts("plain-seed1");
  EXPECT_EQ(campaign("run").status, 0);
  EXPECT_EQ(attempts("plain-seed1"), before) << "nothing is left to do";
  const auto status = nlohmann::json::parse(campaign("status", "--json").output);
  EXPECT_EQ(status["runs"][3]["run"], "kv-seed2");
  EXPECT_EQ(status["runs"][3]["state"], "finished");
  EXPECT_EQ(status["runs"][3]["step"], 8);
}

// The driver is killed at once, while runs train, and between runs; what it started goes on, and the next one takes
// over.
class DriverKilled : public Campaign, public testing::WithParamInterface<std::string> {};

TEST_P(DriverKilled, EveryRunIsTrainedOnceAndNoneIsLost) {
  const Outcome killed =
      shell(kAsRoot + "runs=" + (directory() / "runs").string() + "\n" + command("run") + " & driver=$!\nuntil " +
            GetParam() + "; do kill -0 $driver || exit 3; done\n" + "kill -KILL $driver\nwait $driver");
  ASSERT_EQ(killed.status, 137) << killed.output;
  EXPECT_EQ(campaign("status").status, 0);
  const Outcome again = campaign("run");
  ASSERT_EQ(again.status, 0) << again.output;
  expect_all_trained_once();
  for (const char* name : {"plain-seed1", "plain-seed2", "kv-seed1", "kv-seed2"}) {
    EXPECT_THAT(attempts(name), Not(HasSubstr("requeued"))) << "none was started twice";
  }
}

INSTANTIATE_TEST_SUITE_P(Moments, DriverKilled,
                         testing::Values("[ -e $runs/../campaign.json ]", "[ -e $runs/plain-seed1/metrics.jsonl ]",
                                         "[ -e $runs/plain-seed2/finished ]", "[ -e $runs/kv-seed1/lock ]"));

TEST_F(Campaign, TwoDriversAtOnceDoNoHarm) {
  const Outcome both = shell(kAsRoot + command("run") + " & first=$!\n" + command("run") +
                             "; second=$?\nwait $first; echo statuses $? $second");
  EXPECT_TRUE(both.output.find("statuses 0 10") != std::string::npos ||
              both.output.find("statuses 10 0") != std::string::npos)
      << both.output;
  expect_all_trained_once();
}

TEST_F(Campaign, RunsWhoseRanksAreKilledWithTheirDriverBeginAgain) {
  const Outcome killed =
      shell(kAsRoot + "runs=" + (directory() / "runs").string() +
            "\nexport HEADROOM_REHEARSE='delay step=3-8 seconds=5'\n" + command("run") +
            " & driver=$!\nuntil grep -qs '\"step\":2' $runs/plain-seed1/metrics.jsonl; do kill -0 $driver || exit 3; "
            "done\n" +
            "all=$(dirname $runs)\nkill -KILL $driver $(pgrep -f $all/jobs) $(pgrep -f $all/configs)\nwait $driver");
  ASSERT_EQ(killed.status, 137) << killed.output;
  const Outcome again = campaign("run");
  ASSERT_EQ(again.status, 0) << again.output;
  expect_all_trained_once();
  const auto status = nlohmann::json::parse(campaign("status", "--json").output);
  EXPECT_EQ(status["runs"][0]["restarts"], 1);
}

TEST_F(Campaign, StopSavesTheRunsAndRunGoesOn) {
  const Outcome stopped = shell(kAsRoot + "runs=" + (directory() / "runs").string() +
                                "\nexport HEADROOM_REHEARSE='delay step=3-8 seconds=1'\n" + command("run") +
                                " & driver=$!\nuntil grep -qs '\"step\":2' $runs/plain-seed1/metrics.jsonl; do kill -0 "
                                "$driver || exit 3; done\n" +
                                command("stop") + "\nwait $driver");
  EXPECT_THAT(stopped.output, HasSubstr("asked to save and end"));
  EXPECT_EQ(stopped.status, 75) << stopped.output;
  EXPECT_THAT(campaign("status").output, HasSubstr("4 stopped"));
  ASSERT_EQ(campaign("run").status, 0);
  expect_all_trained_once();
}

// Ctrl-C, or a batch system that ends the driver's own job.
TEST_F(Campaign, AnInterruptedDriverWaitsForItsRunsToSaveThemselves) {
  for (const std::string signal : {"INT", "TERM"}) {
    const Outcome interrupted = shell(
        kAsRoot + "runs=" + (directory() / "runs").string() +
        "\nrm -rf $runs\nrm -f $runs/../journal/*.jsonl\nexport HEADROOM_REHEARSE='delay step=3-8 seconds=1'\n" +
        command("run") +
        " & driver=$!\nuntil grep -qs '\"step\":2' $runs/plain-seed1/metrics.jsonl; do kill -0 $driver || exit 3; "
        "done\nkill -" +
        signal + " $driver\nwait $driver");
    EXPECT_EQ(interrupted.status, 75) << interrupted.output;
    EXPECT_THAT(interrupted.output, AllOf(HasSubstr("stopped; `headroom campaign run"), HasSubstr("2 waiting")))
        << signal;
    EXPECT_THAT(attempts("plain-seed1"), AllOf(HasSubstr("requeued"), HasSubstr("\"status\": 75")));
  }
  ASSERT_EQ(campaign("run").status, 0);
  expect_all_trained_once();
}

TEST_F(Campaign, StopOfOneRunLeavesTheOthersAlone) {
  const Outcome stopped = shell(kAsRoot + "runs=" + (directory() / "runs").string() +
                                "\nexport HEADROOM_REHEARSE='delay step=3-6 seconds=0.5'\n" + command("run") +
                                " & driver=$!\nuntil grep -qs '\"step\":2' $runs/plain-seed1/metrics.jsonl; do kill -0 "
                                "$driver || exit 3; done\n" +
                                command("stop", "plain-seed1") + "\nwait $driver");
  EXPECT_EQ(stopped.status, 75) << stopped.output;
  EXPECT_THAT(stopped.output, HasSubstr("1 running asked to save and end"));
  EXPECT_THAT(campaign("status").output, AllOf(HasSubstr("3 finished"), HasSubstr("1 stopped")));
  ASSERT_EQ(campaign("run").status, 0);
  expect_all_trained_once();
}

// Every start of a run gets to the step that kills it.
TEST_F(Campaign, ARunThatKeepsDyingIsGivenUpWhenItsRestartsAreUsedUp) {
  file_ = here.file("once.toml", "name = \"ablation\"\nbase = \"" + here.config("base") +
                                     "\"\nbudget.restarts = 1\n[variants]\nplain = {}\n")
              .string();
  const Outcome given_up = shell(kAsRoot + "export HEADROOM_REHEARSE='kill step=3'\n" + command("run"));
  EXPECT_EQ(given_up.status, 7) << given_up.output;
  EXPECT_THAT(given_up.output, HasSubstr("after 1 restart: ended by signal 9"));
  const std::string all = attempts("plain-seed1");
  EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 5) << "started, requeued, started, requeued, gave up: " << all;
  EXPECT_THAT(campaign("retry").output, HasSubstr("1 run to begin again"));
  EXPECT_EQ(campaign("run").status, 0);
}

TEST_F(Campaign, ARunThatFailsLeavesTheOthersAlone) {
  file_ = here.file("wild.toml",
                    "name = \"ablation\"\nbase = \"" + here.config("base") +
                        "\"\n[variants]\nwild = { optim.lr = 1e30, optim.schedule.warmup_steps = 0 }\nplain = {}\n")
              .string();
  const Outcome failed = campaign("run");
  EXPECT_EQ(failed.status, 6) << failed.output;
  EXPECT_THAT(failed.output, AllOf(HasSubstr("1 finished, 1 failed"), HasSubstr("report/index.html")));
  const std::string before = attempts("plain-seed1");
  EXPECT_THAT(campaign("retry", "wild-seed1").output, HasSubstr("1 run to begin again"));
  EXPECT_EQ(campaign("run").status, 6);
  EXPECT_EQ(attempts("plain-seed1"), before);
  EXPECT_THAT(attempts("wild-seed1"), HasSubstr("retried"));
}

TEST_F(Campaign, ItsDirectoryMayBeCalledAnything) {
  file_ = here.file("one.toml", "name = \"ablation\"\nbase = \"" + here.config("base") + "\"\n[variants]\nplain = {}\n")
              .string();
  const std::string parent = "\"" + (here / "it's 50% \\\"of\\\" it").string() + "\"";
  const std::string run = std::string(HEADROOM_BINARY) + " campaign run " + file_ + " --dir " + parent;
  const Outcome trained = shell(kAsRoot + run);
  EXPECT_EQ(trained.status, 0) << trained.output;
  EXPECT_THAT(trained.output, HasSubstr("1 finished"));
  const Outcome status = shell(std::string(HEADROOM_BINARY) + " campaign status " + parent + "/ablation/");
  EXPECT_THAT(status.output, HasSubstr("1 finished"));
}

TEST_F(Campaign, ARunThatFailsIsGivenUpAndTriedAgainOnRequest) {
  const Outcome failed =
      shell(kAsRoot + "export HEADROOM_REHEARSE='nan step=3-8'\n" + command("run") + " ; echo status $?");
  EXPECT_THAT(failed.output, AllOf(HasSubstr("status 6"), HasSubstr("exit code 6 (diverged)"), HasSubstr("retry")));
  EXPECT_THAT(campaign("run").output, HasSubstr("4 failed")) << "not by itself";
  const Outcome retried = campaign("retry");
  EXPECT_THAT(retried.output, HasSubstr("4 runs to begin again"));
  ASSERT_EQ(campaign("run").status, 0);
  expect_all_trained_once();
}

TEST_F(Campaign, WhatDoesNotGoTogetherIsRefused) {
  ASSERT_EQ(campaign("run").status, 0);
  const std::string before = content_of(directory() / "campaign.json");
  file_ = here.file("other.toml", content_of(file_) + "optim.lr = 0.5\n").string();
  const Outcome changed = campaign("run");
  EXPECT_EQ(changed.status, 3);
  EXPECT_THAT(changed.output, AllOf(HasSubstr("plain-seed1"), HasSubstr("optim.lr: 0.01 -> 0.5")));
  EXPECT_EQ(content_of(directory() / "campaign.json"), before);

  std::string later = before;
  later.replace(later.find("\"format\": 1"), 11, "\"format\": 9");
  here.file("campaigns/ablation/campaign.json", later);
  const Outcome version = campaign("status");
  EXPECT_EQ(version.status, 3);
  EXPECT_THAT(version.output, AllOf(HasSubstr("format 9"), HasSubstr("knows format 1")));
}

TEST_F(Campaign, MistypedWordsGetASuggestion) {
  EXPECT_THAT(headroom("campaign statu x").output, HasSubstr("headroom campaign status"));
  EXPECT_THAT(headroom("campaign status x --jsn").output, HasSubstr("--json"));
  ASSERT_EQ(campaign("run").status, 0);
  const Outcome run = campaign("retry", "plane-seed1");
  EXPECT_EQ(run.status, 2);
  EXPECT_THAT(run.output, AllOf(HasSubstr("no run 'plane-seed1'"), HasSubstr("'plain-seed1'")));
  const Outcome nothing = headroom("campaign status " + (here / "nowhere").string());
  EXPECT_EQ(nothing.status, 3) << nothing.output;
}

}  // namespace
}  // namespace headroom::test
