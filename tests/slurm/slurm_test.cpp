// Campaigns on a real Slurm: what its jobs, queue, limits and lost nodes do to runs, and that nothing is lost or done
// twice.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/slurm/cluster.h"

namespace headroom::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Slurm : public testing::Test {
 protected:
  void SetUp() override {
    if (!why_no_slurm().empty()) GTEST_SKIP() << "NO SLURM HERE: " << why_no_slurm();
  }

  Workspace here;
};

// One thread a rank, as mpirun's ranks have in these tests: threads share sums out, and so decide the last bits.
constexpr const char* kOneRun = "seeds = [7]\nresources.threads = 1\n[variants]\nplain = {}\n";

// The same run without Slurm.
void train_undisturbed(const Workspace& here, const std::string& name, int ranks, const std::string& settings) {
  const std::string config = here.config(name, "seed = 7\nparallel.threads = 1\n" + settings);
  const Outcome trained = headroom_ranks(ranks, "train " + config);
  ASSERT_EQ(trained.status, 0) << trained.output;
}

// ---- jobs ----
TEST_F(Slurm, FourRanksOnTwoNodesTrainLikeFourOnOne) {
  const Cluster cluster(2);
  const SlurmCampaign campaign(here, cluster,
                               "resources.nodes = 2\nresources.ranks_per_node = 2\n" + std::string(kOneRun));
  const Outcome submitted = campaign("run");
  ASSERT_EQ(submitted.status, 0) << submitted.output;
  ASSERT_TRUE(campaign.all_finished()) << campaign.log("plain-seed7");
  EXPECT_THAT(content_of(campaign.directory() / "jobs/plain-seed7.sbatch"), HasSubstr("launch=(srun --mpi=pmix "));
  EXPECT_THAT(campaign.log("plain-seed7"), AllOf(HasSubstr("n1"), HasSubstr("n2")));
  train_undisturbed(here, "alone", 4, "");
  EXPECT_EQ(results_of(campaign.run_directory("plain-seed7")), results_of(here.run("alone")));
}

TEST_F(Slurm, MpirunServesWhereTheSiteAsksForIt) {
  const Cluster cluster(2);
  const SlurmCampaign campaign(here, cluster, "resources.nodes = 2\n" + std::string(kOneRun), "",
                               "launch.launcher = \"mpirun\"");
  ASSERT_EQ(campaign("run").status, 0);
  ASSERT_TRUE(campaign.all_finished()) << campaign.log("plain-seed7");
  EXPECT_THAT(content_of(campaign.directory() / "jobs/plain-seed7.sbatch"), HasSubstr("launch=(mpirun -n 2 "));
  train_undisturbed(here, "alone", 2, "");
  EXPECT_EQ(results_of(campaign.run_directory("plain-seed7")), results_of(here.run("alone")));
}

TEST_F(Slurm, VariantsAreArraysAndTheReportComesBehindThem) {
  const Cluster cluster;
  const SlurmCampaign campaign(
      here, cluster, "seeds = [1, 2]\n[variants]\nbaseline = {}\nkv = { model.attention.kv_bias = \"kv\" }\n");
  const Outcome submitted = campaign("run");
  ASSERT_EQ(submitted.status, 0) << submitted.output;
  EXPECT_THAT(submitted.output,
              AllOf(HasSubstr("baseline: job 1, 2 runs"), HasSubstr("kv: job 2, 2 runs"), HasSubstr("report: job 3")));
  // At once again, and from two places at the same time: nothing is submitted twice.
  const std::string again = std::string(HEADROOM_BINARY) + " campaign run " + campaign.directory().string();
  const Outcome both = cluster.run(again + " & " + again + "; wait");
  EXPECT_THAT(both.output, Not(HasSubstr("job "))) << both.output;
  ASSERT_TRUE(campaign.all_finished());
  ASSERT_TRUE(Cluster::until([&] { return std::filesystem::exists(campaign.directory() / "report/index.html"); }))
      << campaign.log("report");
  for (const char* run : {"baseline-seed1", "baseline-seed2", "kv-seed1", "kv-seed2"}) {
    EXPECT_EQ(campaign.events(run), "started ended") << run;
    EXPECT_EQ(steps_in(campaign.run_directory(run)), 8) << run;
  }
  EXPECT_THAT(content_of(campaign.directory() / "report/tables/summary.csv"), HasSubstr("kv-seed2"));
}

// ---- the time limit ----
// Slurm warns, the ranks save, the job requeues itself, and the run ends with the bits of one that had all the time.
TEST_F(Slurm, ARunThatIsOutOfTimeGoesOnToTheSameBits) {
  const Cluster cluster(2);
  const std::string settings = "train.steps = 60\neval.every = 7\nsnapshot.every = 20\ncheckpoint.every = 9\n";
  // Steps of a second, so that a minute, the shortest time limit there is, does not suffice.
  const SlurmCampaign campaign(
      here, cluster,
      "resources.nodes = 2\nresources.time = \"00:01:00\"\nresources.warning = \"00:00:50\"\n" + std::string(kOneRun) +
          "[set]\n" + settings,
      "HEADROOM_REHEARSE = \"delay step=1-45 seconds=1\"\n");
  ASSERT_EQ(campaign("run").status, 0);
  ASSERT_TRUE(Cluster::until([&] { return campaign.events("plain-seed7").find("requeued") != std::string::npos; }))
      << campaign.log("plain-seed7");
  EXPECT_LT(steps_in(campaign.run_directory("plain-seed7")), 60);
  ASSERT_TRUE(campaign.all_finished(240)) << campaign.log("plain-seed7");
  EXPECT_GE(campaign.of("plain-seed7")["restarts"], 1);
  train_undisturbed(here, "alone", 2, settings);
  EXPECT_EQ(results_of(campaign.run_directory("plain-seed7")), results_of(here.run("alone")));
  const Outcome same = compare_checkpoints(campaign.run_directory("plain-seed7"), here.run("alone"));
  EXPECT_EQ(same.status, 0) << same.output;
}

// ---- people ----
constexpr const char* kSlow = "HEADROOM_REHEARSE = \"delay step=1-8 seconds=2\"\n";

TEST_F(Slurm, WhatScancelEndsIsCancelledAndBeginsAgainOnRequest) {
  const Cluster cluster(1);
  const SlurmCampaign campaign(here, cluster, kOneRun, kSlow);
  ASSERT_EQ(campaign("run").status, 0);
  ASSERT_TRUE(campaign.trains("plain-seed7", 1)) << campaign.log("plain-seed7");
  ASSERT_EQ(cluster.run("scancel " + campaign.job("plain-seed7")).status, 0);
  ASSERT_TRUE(campaign.reaches("plain-seed7", "cancelled")) << campaign.status().dump(2);
  const Outcome not_again = campaign("run");
  EXPECT_THAT(not_again.output, Not(HasSubstr("job "))) << not_again.output;
  const Outcome again = campaign("retry");
  ASSERT_EQ(again.status, 0) << again.output;
  ASSERT_TRUE(campaign.all_finished()) << campaign.log("plain-seed7");
  EXPECT_EQ(steps_in(campaign.run_directory("plain-seed7")), 8);
}

TEST_F(Slurm, StopSavesWhatRunsTakesOutWhatWaitsAndRunGoesOn) {
  const Cluster cluster(1, 1);
  const SlurmCampaign campaign(here, cluster, "seeds = [1, 2]\nresources.threads = 1\n[variants]\nplain = {}\n", kSlow);
  ASSERT_EQ(campaign("run").status, 0);
  ASSERT_TRUE(campaign.trains("plain-seed1", 1)) << campaign.log("plain-seed1");
  ASSERT_EQ(campaign.state("plain-seed2"), "queued");
  const Outcome stopped = campaign("stop");
  ASSERT_EQ(stopped.status, 0) << stopped.output;
  const Outcome impatient = campaign("stop");
  ASSERT_EQ(impatient.status, 0) << impatient.output << " (and the checkpoint is not cut short)";
  ASSERT_TRUE(campaign.reaches("plain-seed1", "stopped")) << campaign.log("plain-seed1");
  EXPECT_EQ(campaign.state("plain-seed2"), "stopped");
  EXPECT_EQ(campaign.events("plain-seed1"), "started stopped");
  EXPECT_THAT(campaign.log("plain-seed1"), HasSubstr("stopped by SIGUSR1"));
  EXPECT_LT(steps_in(campaign.run_directory("plain-seed1")), 8);
  ASSERT_EQ(campaign("run").status, 0);
  ASSERT_TRUE(campaign.all_finished()) << campaign.log("plain-seed1");
}

// ---- trouble ----
TEST_F(Slurm, ARunWhoseNodeGoesDownEndsOnAnother) {
  const Cluster cluster(2);
  const SlurmCampaign campaign(here, cluster, std::string(kOneRun) + "[set]\ncheckpoint.every = 1\n", kSlow);
  ASSERT_EQ(campaign("run").status, 0);
  ASSERT_TRUE(campaign.trains("plain-seed7", 2)) << campaign.log("plain-seed7");
  const std::string node = campaign.of("plain-seed7")["detail"];
  cluster.node_down(node);
  ASSERT_TRUE(campaign.all_finished()) << campaign.log("plain-seed7");
  EXPECT_EQ(campaign.of("plain-seed7")["restarts"], 1);
  train_undisturbed(here, "alone", 1, "checkpoint.every = 1\n");
  EXPECT_EQ(results_of(campaign.run_directory("plain-seed7")), results_of(here.run("alone")));
}

TEST_F(Slurm, AnUnfitNodeIsNamedAndLeftOut) {
  const Cluster cluster(2);
  const SlurmCampaign campaign(here, cluster, kOneRun, "HEADROOM_REHEARSE = \"broken-disk node=n1\"\n");
  ASSERT_EQ(campaign("run").status, 0);
  ASSERT_TRUE(campaign.all_finished()) << campaign.log("plain-seed7");
  EXPECT_EQ(campaign.events("plain-seed7"), "started requeued started ended");
  EXPECT_EQ(campaign.nodes("plain-seed7"), "n1 n1 n2 n2");
  EXPECT_THAT(campaign.log("plain-seed7"), HasSubstr("n1 is broken"));
}

TEST_F(Slurm, ProcessesThatFindNobodyAreRefusedWithTheReason) {
  const Cluster cluster(2);
  const std::string config = here.config("lonely");
  const Outcome lonely = cluster.run("timeout 30 srun --mpi=none -N2 -n4 " HEADROOM_BINARY " train " + config);
  EXPECT_EQ(lonely.status, 2) << lonely.output;
  EXPECT_THAT(lonely.output, AllOf(HasSubstr("4 processes"), HasSubstr("PMIx"), HasSubstr("srun --mpi=pmix")));
  EXPECT_FALSE(std::filesystem::exists(here.run("lonely")));
}

// More time and other nodes would not help.
TEST_F(Slurm, ARunWhoseRanksFindNobodyIsGivenUpAtOnce) {
  const Cluster cluster(2);
  const SlurmCampaign campaign(here, cluster, "resources.ranks_per_node = 2\n" + std::string(kOneRun), "",
                               "launch.launcher = \"srun\"\nlaunch.srun_options = [\"--mpi=none\"]");
  const Outcome waited = campaign("run", "--wait");
  EXPECT_EQ(waited.status, 2) << waited.output;
  EXPECT_EQ(campaign.events("plain-seed7"), "started ended");
  EXPECT_THAT(campaign.log("plain-seed7"), AllOf(HasSubstr("2 processes"), HasSubstr("PMIx")));
}

// Whatever the caller's own settings leave out of squeue's answer.
TEST_F(Slurm, NothingIsSubmittedTwiceForVariablesOfTheCaller) {
  const Cluster cluster(1);
  const SlurmCampaign campaign(here, cluster, kOneRun, kSlow);
  ASSERT_EQ(campaign("run").status, 0);
  ASSERT_TRUE(campaign.trains("plain-seed7", 1)) << campaign.log("plain-seed7");
  const Outcome again = cluster.run("SQUEUE_STATES=PENDING SQUEUE_PARTITION=short " HEADROOM_BINARY " campaign run " +
                                    campaign.directory().string());
  EXPECT_EQ(again.status, 0) << again.output;
  EXPECT_THAT(again.output, Not(HasSubstr("job "))) << again.output;
  ASSERT_TRUE(campaign.all_finished()) << campaign.log("plain-seed7");
  EXPECT_EQ(campaign.events("plain-seed7"), "started ended");
}

TEST_F(Slurm, WithoutItsSchedulerACampaignStillShowsWhatItsFilesSay) {
  const Cluster cluster(1);
  const SlurmCampaign campaign(here, cluster, kOneRun);
  ASSERT_EQ(campaign("run").status, 0);
  ASSERT_TRUE(campaign.all_finished()) << campaign.log("plain-seed7");
  const Outcome away =
      shell("SLURM_CONF=/nowhere " HEADROOM_BINARY " campaign status " + campaign.directory().string());
  EXPECT_EQ(away.status, 7) << away.output;
  EXPECT_THAT(away.output, AllOf(HasSubstr("the scheduler does not answer"), HasSubstr("plain-seed7  finished")));
}

TEST_F(Slurm, ARunThatCannotSucceedIsGivenUp) {
  const Cluster cluster(2);
  // On several ranks, of which srun terminates those that are not gone when the first one is.
  const SlurmCampaign campaign(
      here, cluster,
      "resources.nodes = 2\nresources.ranks_per_node = 2\n" + std::string(kOneRun) + "[set]\nbad_steps.patience = 2\n",
      "HEADROOM_REHEARSE = \"nan step=3-8\"\n");
  const Outcome waited = campaign("run", "--wait");
  EXPECT_EQ(waited.status, 6) << waited.output;
  EXPECT_EQ(campaign.events("plain-seed7"), "started ended");
  EXPECT_THAT(waited.output, AllOf(HasSubstr("exit code 6 (diverged)"), HasSubstr("campaign retry")));
}

TEST_F(Slurm, WhatThePartitionCannotGiveIsRefusedBeforeAnythingIsSubmitted) {
  const Cluster cluster(2);
  const SlurmCampaign wide(here, cluster, "resources.nodes = 8\n" + std::string(kOneRun));
  const Outcome refused = wide("run");
  EXPECT_EQ(refused.status, 3);
  EXPECT_THAT(refused.output, AllOf(HasSubstr("2 nodes"), HasSubstr("8"), HasSubstr("nothing was submitted")));
  EXPECT_EQ(cluster.run("squeue --noheader").output, "");
}

}  // namespace
}  // namespace headroom::test
