// The scripts of jobs as bash runs them, with programs that say what they were called with in place of the cluster's
// and of headroom itself.
#include "campaign/job_script.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "campaign/runs.h"
#include "tests/campaign/campaign_support.h"
#include "tests/source_dir.h"

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
[ -z "${SAVES-}" ] || mkdir -p "$SAVES"
[ "${TRAIN-0}" = hang ] || exit "${TRAIN-0}"
sleep 60 &
trap 'echo "ranks got USR1" >>"$CALLS"; kill %1; exit 75' USR1
trap 'echo "ranks got TERM" >>"$CALLS"; kill %1; exit 75' TERM
touch "$CALLS.training"
wait
)sh";

constexpr const char* kScheduler = R"sh(#!/bin/bash
echo "$(basename "$0") $*" >>"$CALLS"
case "$(basename "$0") $*" in
  "scontrol requeue"*) exit "${SCONTROL-0}" ;;
  "scontrol show hostnames"*) tr , '\n' <<<"$3" ;;
  squeue*) echo "${EXCLUDED-(null)}" ;;
  sinfo*) printf '%s\n' ${NODES-n1 n2 n3 n7} ;;
esac
)sh";

// Waiting for the scheduler takes no time.
constexpr const char* kSleep = R"sh(#!/bin/bash
[ "$1" = 15 ] || exec /bin/sleep "$@"
)sh";

class Scripts : public testing::Test, protected SampleCampaign {
 protected:
  Scripts() {
    for (const char* name : {"srun", "mpirun"}) program(std::string("bin/") + name, kLauncher);
    for (const char* name : {"scontrol", "squeue", "sinfo"}) program(std::string("bin/") + name, kScheduler);
    program("bin/sleep", kSleep);
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
                " SLURM_JOB_ID=40 SLURM_ARRAY_JOB_ID=40 SLURM_ARRAY_TASK_ID=1 SLURM_JOB_NODELIST='n[1-2]' "
                "SLURM_JOB_NUM_NODES=2 SLURM_JOB_PARTITION=debug " +
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

// The whole of it, as a cluster's user would read it.
TEST(SlurmJobOfLlama1B, ReadsAsItsExampleDoes) {
  const std::filesystem::path configs = std::filesystem::path(test::source_dir()) / "configs";
  const Spec spec = load_spec(configs / "campaigns/llama-1b.toml");
  const Site site = load_site(configs / "sites/gpu-cluster.toml");
  Spec settled_spec = spec;
  settled_spec.resources = settled(spec.resources, site);
  const std::filesystem::path directory = "/scratch/me/campaigns/llama-1b";
  const Campaign campaign =
      describe_campaign(directory, settled_spec, expand(settled_spec, directory / "runs"), site, "srun");
  const std::string text =
      slurm_script(campaign, job_plans(campaign, "tvr").front(), "/home/me/headroom/build/headroom");
  const std::filesystem::path example = std::filesystem::path(test::source_dir()) / "docs/examples/llama-1b-tvr.sbatch";
  EXPECT_EQ(text, test::content_of(example)) << "if this is meant, write it to " << example;
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
  EXPECT_THAT(calls(), AllOf(HasSubstr("srun --mpi=pmix "),
                             HasSubstr("headroom preflight --device cpu --directory " + directory + "/runs "),
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
  journal.refused("tvr", "sample/tvr#3", "no");
  EXPECT_EQ(job(), 0);
  EXPECT_EQ(events(), "started ended:0 started ended:0") << "#3 is no job";
  submitting("sample/tvr#4", "tvr-seed1");
  EXPECT_EQ(job(), 0);
  EXPECT_EQ(events(), "started ended:0 started ended:0") << "and no more";
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

TEST_F(SlurmJob, IsGivenUpWhenItHasBegunTooOftenWithoutANewCheckpoint) {
  campaign.budget.restarts = 1;
  EXPECT_EQ(job("TRAIN=75"), 75);
  EXPECT_EQ(job("TRAIN=75"), 75);
  EXPECT_EQ(events(), "started requeued:75 started gave up:75");
  Journal(campaign).retried(campaign.runs[0]);
  EXPECT_EQ(job("TRAIN=75"), 75);
  EXPECT_THAT(events(), EndsWith("retried:0 started requeued:75")) << "counted anew";
}

TEST_F(SlurmJob, ThatGetsAsFarAsANewCheckpointMayBeginAgainAsOftenAsItTakes) {
  campaign.budget.restarts = 0;
  for (const char* step : {"step-00000010", "step-00000020", "step-00000030"}) {
    EXPECT_EQ(job("TRAIN=75 SAVES=" + word(campaign.run_directory("tvr-seed1") / "checkpoints" / step)), 75);
  }
  EXPECT_EQ(events(), "started requeued:75 started requeued:75 started requeued:75");
  EXPECT_EQ(job("TRAIN=75"), 75);
  EXPECT_THAT(events(), EndsWith("started gave up:75")) << "and this one did not";
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

TEST_F(SlurmJob, KeepsUnfitNodesWhereTooFewWouldBeLeft) {
  EXPECT_EQ(job("PREFLIGHT=75 UNFIT=n2 NODES='n1 n2'"), 75);
  EXPECT_THAT(calls(), Not(HasSubstr("ExcNodeList")));
  EXPECT_THAT(calls(), Not(HasSubstr("--tolerate-slow")));
  EXPECT_EQ(job(), 0);
  EXPECT_THAT(calls(), HasSubstr("--tolerate-slow\n")) << "from now on";
}

TEST_F(SlurmJob, WaitsForASchedulerThatIsAway) {
  program("bin/scontrol",
          "#!/bin/bash\necho \"scontrol $*\" >>\"$CALLS\"\n"
          "[ \"$(grep -c 'scontrol requeue' \"$CALLS\")\" -ge 3 ]\n");
  EXPECT_EQ(job("TRAIN=75"), 75);
  EXPECT_EQ(events(), "started requeued:75");
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
  // To the ranks as well, as slurmd sends it.
  EXPECT_EQ(job("TRAIN=hang", when_training("ranks=$(pgrep -P $script)\nkill -TERM $script $ranks")), 143);
  EXPECT_THAT(calls(), AllOf(HasSubstr("ranks got TERM\n"), Not(HasSubstr("scontrol"))));
  EXPECT_EQ(events(), "started cancelled:143");
}

// The warning came, but the ranks had not saved themselves when the time was over.
TEST_F(SlurmJob, ThatIsOutOfTimeGoesOnFromItsNewestCheckpoint) {
  campaign.resources.seconds = 5;  // over at once: Slurm's own clock begins before the script's
  EXPECT_EQ(job("TRAIN=hang", when_training("ranks=$(pgrep -P $script)\nkill -TERM $script $ranks")), 143);
  EXPECT_EQ(events(), "started requeued:143");
  EXPECT_THAT(calls(), HasSubstr("scontrol requeue 40_1\n"));
}

TEST_F(SlurmJob, SubmittedByHandTrains) {
  Journal(campaign).begin_submission("tvr", {"sample/tvr#1", {{"tvr-seed1", "1"}}, {}, false});
  const Captured ended = run(slurm_text(), "", "");
  EXPECT_EQ(ended.status, 0) << ended.errors;
  EXPECT_EQ(events(), "started ended:0");
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
