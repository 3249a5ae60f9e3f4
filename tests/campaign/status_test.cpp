// The state of a run, judged from what its jobs wrote down and what the queue says.
#include "campaign/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "campaign/exit_words.h"
#include "campaign/local_executor.h"
#include "campaign/run_progress.h"
#include "campaign/status_table.h"
#include "tests/data/support.h"
#include "tests/scratch.h"

namespace headroom::campaign {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const RunEntry kRun{"tvr-seed1", "tvr", "TVR", 1, 100, 10};

Attempt told(AttemptEvent event, int status = 0, const std::string& submission = "tvr#1") {
  Attempt attempt;
  attempt.event = event;
  attempt.status = status;
  attempt.submission = submission;
  attempt.nodes = "n1";
  return attempt;
}

const Attempt kStarted = told(AttemptEvent::started);

Submission submitted(const std::string& name = "tvr#1", const std::string& job = "12") {
  return {name, {{"tvr-seed1", "1"}}, job, false};
}

// ---- on Slurm ----
Phase on_slurm(std::vector<Attempt> attempts, const Queue& queue, std::optional<Submission> submission = submitted()) {
  Evidence evidence;
  evidence.attempts = std::move(attempts);
  evidence.queue = &queue;
  evidence.submission = std::move(submission);
  return judge(kRun, evidence).phase;
}

TEST(State, OnSlurmIsTheQueuesWhileItKnowsTheJob) {
  EXPECT_EQ(on_slurm({}, {{"12_1", "PENDING", "Resources", "", ""}}), Phase::queued);
  EXPECT_EQ(on_slurm({kStarted}, {{"12_1", "RUNNING", "None", "n1", ""}}), Phase::running);
  EXPECT_EQ(on_slurm({kStarted, told(AttemptEvent::requeued, 75)}, {{"12_1", "PENDING", "BeginTime", "", ""}}),
            Phase::queued);
  EXPECT_EQ(on_slurm({kStarted, told(AttemptEvent::cancelled, 143)}, {{"12_1", "PENDING", "BeginTime", "", ""}}),
            Phase::queued)
      << "a lost node: Slurm itself requeued it";
  EXPECT_EQ(on_slurm({}, {{"12_2", "RUNNING", "None", "n1", ""}}), Phase::cancelled) << "another task of the array";
}

TEST(State, WithoutTheSchedulerIsKnownWhereTheFilesTellTheEnd) {
  const auto away = [](std::vector<Attempt> attempts, std::optional<Submission> submission = submitted()) {
    Evidence evidence;
    evidence.attempts = std::move(attempts);
    evidence.submission = std::move(submission);
    evidence.scheduler_away = true;
    return judge(kRun, evidence);
  };
  EXPECT_EQ(away({}, std::nullopt).phase, Phase::waiting);
  EXPECT_EQ(away({kStarted, told(AttemptEvent::ended, 6)}).phase, Phase::failed);
  EXPECT_EQ(away({kStarted, told(AttemptEvent::stopped, 75)}).phase, Phase::stopped);
  for (const AttemptEvent open : {AttemptEvent::started, AttemptEvent::requeued, AttemptEvent::retried}) {
    EXPECT_EQ(away({kStarted, told(open)}).phase, Phase::unknown);
  }
  EXPECT_EQ(away({}).phase, Phase::unknown) << "it may have begun or not";
  EXPECT_EQ(away({kStarted, told(AttemptEvent::ended, 6)}, submitted("tvr#2", "13")).phase, Phase::unknown)
      << "the end of an older job";
  EXPECT_THAT(away({kStarted}).detail, HasSubstr("started"));
}

TEST(State, OfAJobThatIsGoneIsItsLastWord) {
  EXPECT_EQ(on_slurm({kStarted, told(AttemptEvent::ended, 6)}, {}), Phase::failed);
  EXPECT_EQ(on_slurm({kStarted, told(AttemptEvent::gave_up, 7)}, {}), Phase::failed);
  EXPECT_EQ(on_slurm({kStarted, told(AttemptEvent::stopped, 75)}, {}), Phase::stopped);
  EXPECT_EQ(on_slurm({kStarted, told(AttemptEvent::cancelled, 143)}, {}), Phase::cancelled);
  EXPECT_EQ(on_slurm({kStarted}, {}), Phase::lost);
  EXPECT_EQ(on_slurm({kStarted, told(AttemptEvent::requeued, 75)}, {}), Phase::lost);
  EXPECT_EQ(on_slurm({}, {}), Phase::cancelled) << "left the queue before it began";
  EXPECT_EQ(on_slurm({kStarted, told(AttemptEvent::ended, 6), told(AttemptEvent::retried)}, {}), Phase::waiting);
}

TEST(State, OfARunThatWasNeverHandedOverIsWaiting) {
  EXPECT_EQ(on_slurm({}, {}, std::nullopt), Phase::waiting);
  Submission unknown = submitted();
  unknown.job.reset();  // the driver was killed, and neither the queue nor a job knows of it
  EXPECT_EQ(on_slurm({}, {}, unknown), Phase::waiting);
}

TEST(State, ANewSubmissionIsNotJudgedByAnOlderOnesWords) {
  EXPECT_EQ(on_slurm({kStarted, told(AttemptEvent::ended, 6)}, {{"13_1", "PENDING", "Priority", "", ""}},
                     submitted("tvr#2", "13")),
            Phase::queued);
}

TEST(State, ASubmissionWhoseNumberIsUnknownIsFoundAgain) {
  const Submission unknown{"tvr#1", {{"tvr-seed1", "1"}}, {}, false};
  EXPECT_EQ(find_submission(unknown, {}, {{"40_1", "RUNNING", "", "n1", "tvr#1"}}), "40")
      << "in the queue, by its comment";
  Attempt by_job = kStarted;
  by_job.job = "41_1";
  EXPECT_EQ(find_submission(unknown, {by_job}, {}), "41") << "by what the job itself told";
  EXPECT_EQ(find_submission(unknown, {}, {{"40_1", "RUNNING", "", "n1", "tvr#2"}}), std::nullopt);
}

// ---- on this machine ----
RunState here(std::vector<Attempt> attempts, bool alive = false, bool finished = false, bool stop_mark = false) {
  Evidence evidence;
  evidence.attempts = std::move(attempts);
  evidence.alive = alive;
  evidence.finished = finished;
  evidence.stop_mark = stop_mark;
  return judge(kRun, evidence);
}

TEST(State, OnThisMachineIsToldByTheScriptAndItsLastWord) {
  EXPECT_EQ(here({}).phase, Phase::waiting);
  EXPECT_EQ(here({kStarted}, true).phase, Phase::running);
  EXPECT_EQ(here({kStarted}).phase, Phase::lost);
  EXPECT_EQ(here({kStarted, told(AttemptEvent::requeued, 75)}).phase, Phase::waiting);
  EXPECT_EQ(here({kStarted, told(AttemptEvent::ended, 3)}).phase, Phase::failed);
  EXPECT_EQ(here({kStarted, told(AttemptEvent::ended, 0)}, false, true).phase, Phase::finished);
  EXPECT_EQ(here({kStarted}, true, false, true).phase, Phase::running) << "asked to stop, and saving itself";
  EXPECT_EQ(here({}, false, false, true).phase, Phase::stopped);
  EXPECT_EQ(here({kStarted, told(AttemptEvent::ended, 3)}, false, false, true).phase, Phase::failed);
}

TEST(State, RestartsCountSinceTheRunWasLastAskedFor) {
  EXPECT_EQ(here({}).restarts, 0);
  EXPECT_EQ(here({kStarted}, true).restarts, 0);
  EXPECT_EQ(here({kStarted, kStarted, kStarted}, true).restarts, 2);
  EXPECT_EQ(here({kStarted, kStarted, told(AttemptEvent::retried), kStarted}, true).restarts, 0);
}

TEST(State, StartsInVainCountSinceTheLastNewCheckpoint) {
  Attempt saved = told(AttemptEvent::requeued, 75);
  saved.progress = true;
  EXPECT_EQ(here({}).starts_in_vain, 0);
  EXPECT_EQ(here({kStarted, told(AttemptEvent::requeued, 75), kStarted}, true).starts_in_vain, 2);
  EXPECT_EQ(here({kStarted, saved, kStarted}, true).starts_in_vain, 1);
  EXPECT_EQ(here({kStarted, kStarted, told(AttemptEvent::retried)}).starts_in_vain, 0);
}

TEST(ExitWords, NameCodesAndSignals) {
  EXPECT_EQ(exit_words(6), "exit code 6 (diverged)");
  EXPECT_EQ(exit_words(99), "exit code 99");
  EXPECT_EQ(exit_words(137), "ended by signal 9");
  EXPECT_EQ(exit_words(233), "exit code 233") << "srun's own";
}

// ---- the queue ----
TEST(Queue, IsReadFromSqueuesLines) {
  const Queue queue = parse_queue(
      "Welcome to the "
      "cluster\n7|PENDING|Dependency||\n12_1|RUNNING|None|n[1-2]|c/tvr#1@ab\n12_2|COMPLETING|None|n1|(null)\n");
  ASSERT_EQ(queue.size(), 3U);
  EXPECT_TRUE(queue[0].waits());
  EXPECT_EQ(queue[0].reason, "Dependency");
  EXPECT_EQ(queue[1].nodes, "n[1-2]");
  EXPECT_EQ(queue[1].comment, "c/tvr#1@ab");
  EXPECT_FALSE(queue[2].waits());
  EXPECT_EQ(find_job(queue, "12_2", "c/tvr#1@ab"), &queue[2]);
  EXPECT_EQ(find_job(queue, "12", "c/tvr#1@ab"), nullptr);
}

TEST(Queue, AJobOfAnotherSubmissionIsNotTakenForOurs) {
  const Queue queue = {{"12", "RUNNING", "None", "n1", "small/tvr#1@0a1b2c3d"},
                       {"13", "RUNNING", "None", "n1", "billed"}};
  EXPECT_EQ(find_job(queue, "12", "small/tvr#1@0a1b2c3d"), &queue[0]);
  EXPECT_EQ(find_job(queue, "12", "small/kv#4@0a1b2c3d"), nullptr) << "a cluster that numbers from 1 again";
  EXPECT_EQ(find_job(queue, "13", "small/kv#4@0a1b2c3d"), &queue[1]) << "the site writes comments of its own";
}

TEST(Queue, WithoutTaskIsTheArraysNumber) {
  EXPECT_EQ(without_task("12_1"), "12");
  EXPECT_EQ(without_task("12"), "12");
}

TEST(Queue, ABarInACommentIsTheComments) {
  const Queue queue = parse_queue("7|PENDING|Priority||one|two|  \n");
  ASSERT_EQ(queue.size(), 1U);
  EXPECT_EQ(queue[0].comment, "one|two|");
}

// ---- journal ----
class Journaled : public testing::Test {
 protected:
  Journaled() {
    campaign_.directory = scratch_.path();
    campaign_.runs = {kRun};
    std::filesystem::create_directories(campaign_.journal());
  }
  test::Scratch scratch_;
  Campaign campaign_;
};

TEST_F(Journaled, SubmissionsAreFoundAgainWithTheirOutcome) {
  const Journal journal(campaign_);
  EXPECT_FALSE(journal.submission_of(kRun).has_value());
  journal.begin_submission("tvr", {"tvr#1", {{"tvr-seed1", "1"}}, {}, false});
  EXPECT_FALSE(journal.submission_of(kRun)->job.has_value()) << "begun, and nobody knows how it ended";
  journal.submitted("tvr", "tvr#1", "12");
  EXPECT_EQ(journal.submission_of(kRun)->job_of("tvr-seed1"), "12_1");
  journal.begin_submission("tvr", {"tvr#2", {{"tvr-seed1", ""}}, {}, false});
  journal.refused("tvr", "tvr#2", "no such partition");
  EXPECT_EQ(journal.submission_of(kRun)->name, "tvr#1") << "a refused one does not count";
  EXPECT_EQ(journal.submissions("tvr").size(), 2U);
}

TEST_F(Journaled, AHalfWrittenLastLineIsLeftOutAndSwallowsNothing) {
  const Journal journal(campaign_);
  scratch_.file("journal/tvr-seed1.attempts.jsonl",
                "{\"time\": \"t\", \"event\": \"started\", \"process\": 5}\n{\"time\": \"t\", \"ev");
  ASSERT_EQ(journal.attempts("tvr-seed1").size(), 1U);
  EXPECT_EQ(journal.attempts("tvr-seed1")[0].process, 5);
  journal.retried(kRun);
  ASSERT_EQ(journal.attempts("tvr-seed1").size(), 2U);
  EXPECT_EQ(journal.attempts("tvr-seed1")[1].event, AttemptEvent::retried);
}

TEST_F(Journaled, ARunThatWasRetriedIsJudgedByTheSubmissionThatFollows) {
  const Journal journal(campaign_);
  journal.begin_submission("tvr", {"tvr#1", {{"tvr-seed1", "1"}}, {}, false});
  journal.submitted("tvr", "tvr#1", "12");
  journal.retried(kRun);
  const auto phase = [&] { return on_slurm(journal.attempts("tvr-seed1"), {}, journal.submission_of(kRun)); };
  EXPECT_EQ(phase(), Phase::waiting);
  journal.begin_submission("tvr", {"tvr#2", {{"tvr-seed1", "1"}}, {}, false});
  journal.submitted("tvr", "tvr#2", "13");
  EXPECT_EQ(phase(), Phase::cancelled) << "the new job left the queue before it began";
}

TEST_F(Journaled, EveryEventIsReadAsItWasWritten) {
  scratch_.file("journal/tvr-seed1.attempts.jsonl",
                "{\"time\": \"t\", \"event\": \"ended\", \"status\": 6, \"job\": \"12_1\", \"submission\": \"tvr#1\", "
                "\"nodes\": \"n[1-2]\", \"process\": 5, \"slot\": 1}\n\n");
  const Journal journal(campaign_);
  journal.gave_up("tvr-seed1", 75);
  const std::vector<Attempt> all = journal.attempts("tvr-seed1");
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].event, AttemptEvent::ended);
  EXPECT_EQ(all[0].status, 6);
  EXPECT_EQ(all[0].job, "12_1");
  EXPECT_EQ(all[0].submission, "tvr#1");
  EXPECT_EQ(all[0].nodes, "n[1-2]");
  EXPECT_EQ(all[0].slot, 1);
  EXPECT_EQ(all[1].event, AttemptEvent::gave_up);
  EXPECT_EQ(all[1].status, 75);
}

TEST_F(Journaled, ALineThatIsNoEventIsNamed) {
  scratch_.file("journal/tvr-seed1.attempts.jsonl", "{\"time\": \"t\", \"event\": \"exploded\"}\n");
  try {
    Journal(campaign_).attempts("tvr-seed1");
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_data);
    EXPECT_THAT(error.what(), HasSubstr("tvr-seed1.attempts.jsonl:1"));
  }
}

// ---- progress and table ----
TEST(Progress, IsOfTheLastWholeStep) {
  const test::Scratch scratch;
  const auto file = scratch.file(
      "metrics.jsonl",
      "{\"run\": {}}\n{\"step\": 1, \"loss\": 3.5, \"tokens_per_second\": 10, \"step_seconds\": 2, \"layer_ratio\": "
      "[4, 9, 5]}\n"
      "{\"event\": \"rollback\", \"before_step\": 2}\n{\"step\": 2, \"loss\": null, \"tokens_per_second\": 30, "
      "\"step_seconds\": 1, \"layer_ratio\": [4, 7, 5]}\n{\"step\": 3, \"lo");
  const auto progress = read_progress(file);
  ASSERT_TRUE(progress.has_value());
  EXPECT_EQ(progress->step, 2);
  EXPECT_TRUE(std::isnan(progress->loss));
  EXPECT_EQ(progress->ratio, 7.0);
  EXPECT_EQ(progress->step_seconds, 2.0);
  EXPECT_FALSE(read_progress(scratch / "nothing.jsonl").has_value());
}

TEST(Progress, OfALongFileIsThatOfItsEnd) {
  const test::Scratch scratch;
  std::string text;
  for (int step = 1; step <= 3000; ++step) {
    text += "{\"step\": " + std::to_string(step) + ", \"loss\": 2.5, \"step_seconds\": 1, \"filler\": \"" +
            std::string(100, '.') + "\"}\n";
  }
  const auto progress = read_progress(scratch.file("metrics.jsonl", text));
  ASSERT_TRUE(progress.has_value());
  EXPECT_EQ(progress->step, 3000);
  EXPECT_TRUE(std::isnan(progress->ratio)) << "there is no monitor";
}

TEST(StatusTable, SaysWhatIsKnownAndTheTimeThatIsLeft) {
  const RunEntry waiting{"dyt-seed1", "dyt", "DyT", 1, 100, 10};
  std::vector<RunStatus> runs = {{&kRun, {}, RunProgress{40, 2.5, 1234.0, 0.5, 77.0}}, {&waiting, {}, std::nullopt}};
  runs[0].state.phase = Phase::running;
  const std::string table = status_table(runs);
  EXPECT_THAT(table, HasSubstr("tvr-seed1  running  40/100  2.5000      1234  30 s          77         0"));
  EXPECT_THAT(table, HasSubstr("dyt-seed1  waiting   0/100       -"));
  // 30 s of the one and 50 s of the other, at the pace of the first: one after the other, or both at once.
  EXPECT_EQ(status_line(runs, 1), "2 runs: 1 running, 1 waiting; about 1 min 20 s left");
  EXPECT_EQ(status_line(runs, 2), "2 runs: 1 running, 1 waiting; about 50 s left");
  EXPECT_EQ(status_line(runs, 0), "2 runs: 1 running, 1 waiting");
  runs[0].progress->loss = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(status_table(runs), HasSubstr("not finite"));
}

TEST(StatusJson, HasNullForWhatIsNotKnown) {
  Campaign campaign;
  campaign.name = "c";
  std::vector<RunStatus> runs = {{&kRun, {}, std::nullopt}};
  const auto nothing = status_json(campaign, runs)["runs"][0];
  EXPECT_EQ(nothing["state"], "waiting");
  EXPECT_EQ(nothing["step"], 0);
  for (const char* key : {"job", "loss", "tokens_per_second", "seconds_left", "ratio"}) {
    EXPECT_TRUE(nothing[key].is_null()) << key;
  }
  runs[0].progress = RunProgress{40, std::numeric_limits<double>::quiet_NaN(), 1234.0, 0.5, 77.0};
  runs[0].state = {Phase::running, "n1", "12_1", 3, 1, 0};
  const auto known = status_json(campaign, runs)["runs"][0];
  EXPECT_TRUE(known["loss"].is_null());
  EXPECT_EQ(known["job"], "12_1");
  EXPECT_EQ(known["seconds_left"], 30.0);
  EXPECT_EQ(known["restarts"], 3);
}

TEST(Slots, ShareTheCoresOut) {
  Resources resources;
  const auto lists = [&](const std::vector<int>& cores, std::size_t runs = 18) {
    std::vector<std::string> all;
    for (const Slot& slot : slots_of(resources, {cores, {}}, runs)) all.push_back(slot.core_list());
    return all;
  };
  EXPECT_THAT(lists({0, 1}), ElementsAre("0", "1"));
  resources.at_once = 1;
  EXPECT_THAT(lists({0, 1}), ElementsAre("0,1"));
  resources.at_once = 3;
  EXPECT_THAT(lists({4, 5, 6, 7, 8, 9, 10}), ElementsAre("4,5", "6,7", "8,9,10"));
  EXPECT_THAT(lists({0, 1}), ElementsAre("0", "0", "1")) << "more slots than cores share them";
  resources = {};
  resources.ranks_per_node = 4;
  EXPECT_THAT(lists({0, 1}), ElementsAre("0,1")) << "one run at a time where not even one has a core a rank";
  resources = {};
  EXPECT_THAT(lists({0, 1, 2, 3, 4, 5}, 2), ElementsAre("0,1,2", "3,4,5")) << "no more than runs";
}

TEST(Slots, GetGpusOfTheirOwn) {
  Resources resources;
  resources.gpus_per_node = resources.ranks_per_node = 2;
  const Machine machine{{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {"4", "5", "GPU-abc", "7", "8"}};
  const std::vector<Slot> slots = slots_of(resources, machine, 18);
  ASSERT_EQ(slots.size(), 2U) << "though there are cores for five";
  EXPECT_EQ(slots[0].gpu_list(), "4,5");
  EXPECT_EQ(slots[1].gpu_list(), "GPU-abc,7");
  resources.at_once = 3;
  test::expect_error([&] { slots_of(resources, machine, 18); }, ExitCode::bad_config, {"at_once = 3", "5 GPUs"});
  resources.at_once = 0;
  test::expect_error([&] { slots_of(resources, {{0, 1}, {"0"}}, 18); }, ExitCode::bad_config, {"2 GPUs", "has 1"});
}

}  // namespace
}  // namespace headroom::campaign
