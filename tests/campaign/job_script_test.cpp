// The scripts of jobs as bash runs them, with programs that say what they were called with in place of the cluster's
// and of headroom itself.
#include "campaign/job_script.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/campaign/campaign_support.h"

namespace headroom::campaign {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

// What stands for the cluster. Each adds what it was called with to $CALLS.
constexpr const char* kLauncher = R"sh(#!/bin/bash
echo "$(basename "$0") $*" >>"$CALLS"
while [[ $1 != /* ]]; do shift; done  # to the program
exec "$@"
)sh";

// Ranks that end as $PREFLIGHT and $TRAIN say; with $TRAIN = hang, when a signal comes.
constexpr const char* kRanks = R"sh(#!/bin/bash
echo "headroom $*" >>"$CALLS"
if [ "$1" = preflight ]; then
  while [ "$1" != --bad-nodes ]; do shift; done
  [ -z "${UNFIT-}" ] || echo "$UNFIT" >"$2"
  exit "${PREFLIGHT-0}"
fi
[ "${TRAIN-0}" = hang ] || exit "${TRAIN-0}"
sleep 60 &
trap 'echo "ranks got USR1" >>"$CALLS"; kill %1; exit 75' USR1
trap 'echo "ranks got TERM" >>"$CALLS"; kill %1; exit 75' TERM
touch "$CALLS.training"
wait
)sh";

constexpr const char* kScheduler = R"sh(#!/bin/bash
echo "$(basename "$0") $*" >>"$CALLS"
[ "$(basename "$0")" = scontrol ] && exit "${SCONTROL-0}"
echo "${EXCLUDED-(null)}"
)sh";

class Scripts : public testing::Test, protected SampleCampaign {
 protected:
  Scripts() {
    for (const char* name : {"srun", "mpirun"}) program(std::string("bin/") + name, kLauncher);
    for (const char* name : {"scontrol", "squeue"}) program(std::string("bin/") + name, kScheduler);
    program_ = program("head room/head'room", kRanks);
  }

  std::filesystem::path program(const std::string& name, const std::string& text) const {
    const auto file = scratch.file(name, text);
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
    return file;
  }

  // Bash's words that run a script's text with these variables, and the script's status in $status; `meanwhile` is done
  // while it runs as $script.
  Captured run(const std::string& text, const std::string& environment, const std::string& meanwhile) const {
    const auto file = scratch.file("job", text);
    return bash("export PATH=" + word(scratch / "bin") + ":$PATH CALLS=" + word(scratch / "calls") +
                " SLURM_JOB_ID=40 SLURM_ARRAY_JOB_ID=40 SLURM_ARRAY_TASK_ID=1 SLURM_JOB_NODELIST='n[1-2]' " +
                environment + "\nbash " + word(file) + " " + arguments_ + " & script=$!\n" + meanwhile +
                "\nwait $script");
  }

  // The group's job on Slurm.
  int job(const std::string& environment = "", const std::string& meanwhile = "") {
    arguments_ = "'sample/tvr#1'";
    const Captured ended = run(slurm_text(), environment, meanwhile);
    EXPECT_THAT(ended.errors, Not(HasSubstr("job: line "))) << "bash complained";
    return ended.status;
  }
  // The first run on this machine.
  int local(const std::string& environment = "", const std::string& meanwhile = "") {
    arguments_ = "3 0";
    const Captured ended = run(local_script(campaign, campaign.runs[0], program_), environment, meanwhile);
    EXPECT_THAT(ended.errors, Not(HasSubstr("job: line "))) << "bash complained";
    return ended.status;
  }

  std::string slurm_text() const { return slurm_script(campaign, job_plans(campaign, "tvr").front(), program_); }
  std::string calls() const { return test::content_of(scratch / "calls"); }
  std::string when_training(const std::string& command) const {
    return "until [ -e \"$CALLS.training\" ]; do kill -0 $script || exit 3; done\n" + command;
  }
  void ask_to_stop() const { scratch.file(campaign.stop_mark("tvr-seed1").lexically_relative(scratch.path()), ""); }

  std::filesystem::path program_;
  std::string arguments_;
};

using SlurmJob = Scripts;
using LocalJob = Scripts;

TEST_F(Scripts, AreWhatBashAndShellcheckAccept) {
  std::vector<std::string> texts = {slurm_text(), report_script(campaign, program_)};
  campaign.launcher = "mpirun";
  campaign.site->setup = {"module purge"};
  campaign.site->environment = {{"NCCL_SOCKET_IFNAME", "^lo,docker0"}, {"WORDS", "two $words"}};
  campaign.site->container = "apptainer exec --nv image.sif";
  campaign.resources.gpus_per_node = 1;
  campaign.runs.pop_back();
  texts.push_back(slurm_text());
  texts.push_back(report_script(campaign, program_));
  texts.push_back(local_script(campaign, campaign.runs[0], program_));
  const bool has_shellcheck = bash("command -v shellcheck").status == 0;
  for (const std::string& text : texts) {
    const std::string file = word(scratch.file("script.sh", text));
    EXPECT_EQ(bash("bash -n " + file).errors, "") << text;
    if (!has_shellcheck) continue;
    const Captured checked = bash("shellcheck --severity=warning " + file);
    EXPECT_EQ(checked.status, 0) << checked.output;
  }
}

// ---- what sbatch reads ----
TEST_F(SlurmJob, AsksForWhatARunGetsAndTheSiteWants) {
  campaign.resources.nodes = 2;
  campaign.resources.ranks_per_node = 4;
  campaign.resources.gpus_per_node = 4;
  campaign.resources.threads = 6;
  campaign.resources.at_once = 1;
  campaign.resources.memory_gb = 100;
  campaign.resources.seconds = 90000;
  campaign.site->account = "my project";
  campaign.site->gpu_option = "--gres=gpu:h100:{}";
  campaign.site->options = {"--mail-type=END"};
  EXPECT_THAT(slurm_text(),
              AllOf(HasSubstr("#SBATCH --job-name=sample-tvr\n"), HasSubstr("#SBATCH --array=1,2%1 "),
                    HasSubstr("#SBATCH --partition=debug\n"), HasSubstr("#SBATCH --account='my project'\n"),
                    HasSubstr("#SBATCH --mail-type=END\n"), HasSubstr("#SBATCH --nodes=2\n"),
                    HasSubstr("#SBATCH --ntasks-per-node=4 "), HasSubstr("#SBATCH --gres=gpu:h100:4\n")));
  EXPECT_THAT(slurm_text(), AllOf(HasSubstr("#SBATCH --cpus-per-task=6 "), HasSubstr("#SBATCH --mem=100G "),
                                  HasSubstr("#SBATCH --time=1-01:00:00\n"), HasSubstr("#SBATCH --signal=B:USR1@300 "),
                                  HasSubstr("#SBATCH --requeue ")));
}

TEST_F(SlurmJob, PrintsIntoTheCampaignsLogsWhateverTheDirectoryIsCalled) {
  campaign.directory = "/scratch/50% of it/sample";
  EXPECT_THAT(slurm_text(), HasSubstr("#SBATCH --output='/scratch/50%% of it/sample/logs/tvr-seed%a.log'\n"));
  EXPECT_THAT(report_script(campaign, program_),
              HasSubstr("#SBATCH --output='/scratch/50%% of it/sample/logs/report.log'\n"));
}

TEST_F(SlurmJob, IsAnArrayWhereSeedsCanBeTasks) {
  EXPECT_EQ(job_plans(campaign, "tvr").size(), 1U);
  campaign.runs[1].seed = 1001;  // beyond the largest task of an array
  const auto plans = job_plans(campaign, "tvr");
  ASSERT_EQ(plans.size(), 2U);
  EXPECT_FALSE(plans[0].array());
  EXPECT_THAT(slurm_script(campaign, plans[0], program_), Not(HasSubstr("--array")));
  campaign.runs[1].seed = 2;
  campaign.runs.push_back({"tvr-seed3", "tvr", "TVR", 3, 100, 10});
  EXPECT_THAT(slurm_text(), HasSubstr("#SBATCH --array=1-3 "));
}

// ---- what the job does ----
TEST_F(SlurmJob, ChecksItsNodesTrainsAndSaysSo) {
  EXPECT_EQ(job(), 0);
  EXPECT_EQ(events(), "started ended:0");
  const Attempt said = Journal(campaign).attempts("tvr-seed1").front();
  EXPECT_EQ(said.job, "40_1");
  EXPECT_EQ(said.submission, "sample/tvr#1");
  EXPECT_EQ(said.nodes, "n[1-2]");
  const std::string directory = campaign.directory.string();
  EXPECT_THAT(calls(),
              AllOf(HasSubstr("srun --mpi=pmix "), HasSubstr("headroom preflight --directory " + directory + "/runs "),
                    EndsWith("headroom train " + directory + "/configs/tvr-seed1.toml --resume\n")));
}

// Its answer was lost on the way, and the scheduler held it back for longer than anybody looked for it.
TEST_F(SlurmJob, ThatWasSubmittedAgainLeavesTheRunToTheNewerOne) {
  const Journal journal(campaign);
  const auto submitting = [&](const std::string& name, const std::string& run) {
    journal.begin_submission("tvr", {name, {{run, "1"}}, {}, false});
  };
  submitting("sample/tvr#1", "tvr-seed1");
  submitting("sample/tvr#2", "tvr-seed2");
  EXPECT_EQ(job(), 0);
  EXPECT_EQ(events(), "started ended:0") << "#2 is another run's";
  submitting("sample/tvr#3", "tvr-seed1");
  EXPECT_EQ(job(), 0);
  EXPECT_EQ(events(), "started ended:0") << "and no more";
}

TEST_F(SlurmJob, OfASingleRunHasNoTask) {
  campaign.runs.pop_back();
  EXPECT_EQ(job(), 0);
  EXPECT_EQ(Journal(campaign).attempts("tvr-seed1").front().job, "40");
}

TEST_F(SlurmJob, GoesBackIntoTheQueueWhereMoreTimeHelps) {
  for (const char* status : {"75", "7", "137", "139"}) {
    std::filesystem::remove(scratch / "calls");
    std::filesystem::remove(Journal(campaign).attempts_file("tvr-seed1"));
    EXPECT_EQ(job(std::string("TRAIN=") + status), std::stoi(status));
    EXPECT_EQ(events(), std::string("started requeued:") + status);
    EXPECT_THAT(calls(), EndsWith("scontrol requeue 40_1\n")) << "and no nodes are excluded";
  }
}

TEST_F(SlurmJob, IsGivenUpWhereItWouldNot) {
  for (const char* status : {"6", "3", "1"}) {
    std::filesystem::remove(Journal(campaign).attempts_file("tvr-seed1"));
    EXPECT_EQ(job(std::string("TRAIN=") + status), std::stoi(status));
    EXPECT_EQ(events(), std::string("started ended:") + status);
  }
  EXPECT_THAT(calls(), Not(HasSubstr("scontrol")));
}

TEST_F(SlurmJob, IsGivenUpWhenItsRestartsAreUsedUp) {
  campaign.budget.restarts = 2;
  EXPECT_EQ(job("TRAIN=75 SLURM_RESTART_COUNT=1"), 75);
  EXPECT_EQ(job("TRAIN=75 SLURM_RESTART_COUNT=2"), 75);
  EXPECT_EQ(events(), "started requeued:75 started gave up:75");
}

TEST_F(SlurmJob, ThatCannotBeRequeuedIsGivenUp) {
  EXPECT_EQ(job("TRAIN=75 SCONTROL=1"), 75);
  EXPECT_EQ(events(), "started requeued:75 ended:75");
}

TEST_F(SlurmJob, OnUnfitNodesDoesNotTrainAndLeavesThemOut) {
  EXPECT_EQ(job("PREFLIGHT=7 UNFIT=n2"), 7);
  EXPECT_EQ(events(), "started requeued:7");
  EXPECT_THAT(calls(),
              AllOf(Not(HasSubstr("headroom train")), HasSubstr("scontrol update JobId=40_1 ExcNodeList=n2\n")));
}

TEST_F(SlurmJob, KeepsTheNodesThatItLeavesOutAlready) {
  EXPECT_EQ(job("PREFLIGHT=7 UNFIT=n2 EXCLUDED=n7"), 7);
  EXPECT_THAT(calls(), HasSubstr("scontrol update JobId=40_1 ExcNodeList=n2,n7\n"));
}

TEST_F(SlurmJob, WhoseConfigIsRefusedByThePreflightIsGivenUp) {
  EXPECT_EQ(job("PREFLIGHT=3"), 3);
  EXPECT_EQ(events(), "started ended:3");
}

TEST_F(SlurmJob, HandsTheWarningToItsRanksAndGoesOnLater) {
  EXPECT_EQ(job("TRAIN=hang", when_training("kill -USR1 $script")), 75);
  EXPECT_THAT(calls(), HasSubstr("ranks got USR1\n"));
  EXPECT_EQ(events(), "started requeued:75");
}

TEST_F(SlurmJob, ThatIsAskedToStopDoesNotGoOn) {
  EXPECT_EQ(job("TRAIN=hang", when_training("touch " + word(campaign.stop_mark("tvr-seed1")) + "; kill -USR1 $script")),
            75);
  EXPECT_EQ(events(), "started stopped:75");
  EXPECT_THAT(calls(), Not(HasSubstr("scontrol")));
}

TEST_F(SlurmJob, ThatWasAskedToStopBeforeItBeganDoesNotTrain) {
  ask_to_stop();
  EXPECT_EQ(job(), 75);
  EXPECT_EQ(events(), "started stopped:75");
  EXPECT_THAT(calls(), Not(HasSubstr("headroom train")));
}

TEST_F(SlurmJob, ThatTheSchedulerEndsIsCancelled) {
  EXPECT_EQ(job("TRAIN=hang", when_training("kill -TERM $script")), 75);
  EXPECT_THAT(calls(), AllOf(HasSubstr("ranks got TERM\n"), Not(HasSubstr("scontrol"))));
  EXPECT_EQ(events(), "started cancelled:75");
}

TEST_F(SlurmJob, ASitesOwnLinesMayUseWhatIsNotSet) {
  campaign.site->setup = {"echo \"$SURELY_NOT_SET\" >/dev/null"};
  EXPECT_EQ(job(), 0);
}

// Half a line that a killed script or a full disk left is nobody's word.
TEST_F(SlurmJob, FindsHalfALineAndGoesOnBehindIt) {
  for (const char* whole : {"", "{\"time\": \"t\", \"event\": \"started\"}\n"}) {
    std::ofstream(Journal(campaign).attempts_file("tvr-seed1")) << whole << "{\"time\": \"t\", \"ev";
    EXPECT_EQ(job(), 0);
    EXPECT_THAT(events(), EndsWith("started ended:0"));
  }
}

// ---- on this machine ----
TEST_F(LocalJob, TrainsOnItsCoresAndSaysSo) {
  EXPECT_EQ(local(), 0);
  EXPECT_EQ(events(), "started ended:0");
  EXPECT_EQ(Journal(campaign).attempts("tvr-seed1").front().slot, 3);
  EXPECT_THAT(calls(),
              AllOf(HasSubstr("mpirun -n 1 "), Not(HasSubstr("preflight")), HasSubstr("/tvr-seed1.toml --resume\n")));
}

TEST_F(LocalJob, EndsAsItsRanksDo) {
  const std::vector<std::pair<std::string, std::string>> statuses = {
      {"75", "requeued"}, {"7", "requeued"}, {"137", "requeued"}, {"6", "ended"}, {"3", "ended"}};
  for (const auto& [status, event] : statuses) {
    std::filesystem::remove(Journal(campaign).attempts_file("tvr-seed1"));
    EXPECT_EQ(local("TRAIN=" + status), std::stoi(status));
    EXPECT_EQ(events(), "started " + event + ":" + status);
  }
}

TEST_F(LocalJob, HandsASignalToItsRanks) {
  EXPECT_EQ(local("TRAIN=hang", when_training("kill -USR1 $script")), 75);
  EXPECT_THAT(calls(), HasSubstr("ranks got USR1\n"));
  EXPECT_EQ(events(), "started requeued:75");
}

TEST_F(LocalJob, ThatWasAskedToStopBeforeItBeganDoesNotTrain) {
  ask_to_stop();
  EXPECT_EQ(local(), 75);
  EXPECT_EQ(events(), "started stopped:75");
  EXPECT_EQ(calls(), "");
}

TEST_F(LocalJob, ASecondOneLeavesAtOnceAndDoesNothing) {
  EXPECT_EQ(local("TRAIN=hang", when_training("bash " + word(scratch / "job") +
                                              " 4 0; [ $? = 0 ] || exit 4\n"
                                              "kill -USR1 $script")),
            75);
  EXPECT_EQ(events(), "started requeued:75") << "of the first one alone";
}

// The lock is the ranks' as well: while they live, no other script trains the run.
TEST_F(LocalJob, WhoseScriptIsKilledKeepsItsRunWhileItsRanksLive) {
  const std::string second = "bash " + word(scratch / "job") + " 4 0; [ $? = 0 ] || exit 4\n";
  EXPECT_EQ(local("TRAIN=hang", when_training("ranks=$(pgrep -P $script)\nkill -KILL $script; wait $script\n" + second +
                                              "kill -TERM $ranks\nexit 9")),
            9);
  EXPECT_EQ(events(), "started");
}

}  // namespace
}  // namespace headroom::campaign
