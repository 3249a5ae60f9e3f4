// What a run says about its ranks before it starts.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "base/system.h"
#include "parallel/launcher.h"
#include "tests/mpi_world.h"
#include "tests/parallel/numbers.h"

namespace headroom {
namespace {

EnvironmentLookup environment(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  };
}

// What the first of several lonely processes says; empty where none is lonely.
std::string said_before_start(std::map<std::string, std::string> variables, RankFinding finding = RankFinding::pmix) {
  const auto lonely = lonely_before_start(environment(std::move(variables)), finding);
  return lonely ? lonely->message + "\n" + lonely->hint : "";
}
std::string said_after_start(int world_size, std::map<std::string, std::string> variables) {
  const auto lonely = lonely_after_start(world_size, environment(std::move(variables)));
  return lonely ? lonely->message + "\n" + lonely->hint : "";
}

TEST(LonelyRanks, AreRecognisedUnderEachLauncher) {
  const std::string srun = said_before_start({{"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "4"}});
  EXPECT_NE(srun.find("srun started 4 processes"), std::string::npos) << srun;
  EXPECT_NE(srun.find("no PMIX_RANK"), std::string::npos) << srun;
  EXPECT_NE(srun.find("srun --mpi=pmix"), std::string::npos) << srun;

  const std::string mpirun = said_after_start(1, {{"OMPI_COMM_WORLD_SIZE", "2"}});
  EXPECT_NE(mpirun.find("mpirun started 2 processes"), std::string::npos) << mpirun;
  EXPECT_NE(mpirun.find("built with"), std::string::npos) << mpirun;

  const std::string hydra = said_before_start({{"PMI_SIZE", "3"}, {"PMI_RANK", "0"}});
  EXPECT_NE(hydra.find("started 3 processes"), std::string::npos) << hydra;
  EXPECT_NE(hydra.find("PMI_SIZE=3"), std::string::npos) << hydra;
}

TEST(LonelyRanks, OneOfThemSpeaks) {
  const auto of_rank = [](const char* rank) {
    return lonely_before_start(
        environment({{"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "4"}, {"SLURM_PROCID", rank}}),
        RankFinding::pmix);
  };
  EXPECT_TRUE(of_rank("0")->speaks);
  EXPECT_FALSE(of_rank("3")->speaks);
}

TEST(LonelyRanks, ByPmi2DependOnWhatTheMpiSpeaks) {
  const std::map<std::string, std::string> pmi2 = {
      {"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "4"}, {"PMI_RANK", "0"}, {"PMI_SIZE", "4"}};
  EXPECT_NE(said_before_start(pmi2, RankFinding::pmix), "");
  EXPECT_EQ(said_before_start(pmi2, RankFinding::pmix_and_pmi), "");
  EXPECT_EQ(said_before_start(pmi2, RankFinding::unknown), "");
}

TEST(LonelyRanks, AreNotSeenWhereThereAreNone) {
  EXPECT_EQ(said_before_start({}), "");
  EXPECT_EQ(said_before_start({{"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "4"}, {"PMIX_RANK", "0"}}), "");
  EXPECT_EQ(said_before_start({{"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "1"}}), "");
  // A batch script's own shell, which carries the job's variables but is no step of it.
  EXPECT_EQ(said_before_start({{"SLURM_NTASKS", "8"}, {"SLURM_PROCID", "0"}}), "");
  EXPECT_EQ(said_before_start({{"SLURM_NTASKS", "8"}, {"SLURM_STEP_ID", "4294967291"}}), "");
  EXPECT_EQ(said_before_start({{"PMI_SIZE", "many"}}), "");
  EXPECT_EQ(said_after_start(4, {{"OMPI_COMM_WORLD_SIZE", "4"}}), "");
  // mpirun -n 1 inside a Slurm job: its daemons were started by srun, one a node.
  EXPECT_EQ(said_after_start(1, {{"OMPI_COMM_WORLD_SIZE", "1"}, {"SLURM_STEP_NUM_TASKS", "2"}}), "");
}

TEST(LonelyRanks, ThisProgramsAreNot) {
  EXPECT_FALSE(lonely_before_start(process_environment, rank_finding()).has_value());
  EXPECT_FALSE(lonely_after_start(test_runtime().size(), process_environment).has_value());
}

TEST(Launcher, IsToldByItsVariables) {
  EXPECT_FALSE(started_by_launcher(environment({})));
  EXPECT_FALSE(started_by_launcher(environment({{"SLURM_PROCID", "0"}})));
  EXPECT_TRUE(started_by_launcher(environment({{"OMPI_COMM_WORLD_SIZE", "1"}})));
  EXPECT_TRUE(started_by_launcher(environment({{"PMIX_RANK", "3"}})));
}

TEST(RankTable, HasALineARankWithItsCoordinates) {
  const auto world = test_runtime().world();
  const int tensor = world->size() % 2 == 0 ? 2 : 1;
  const std::string table = describe_ranks(*world, tensor, 5);
  if (world->rank() != 0) {
    EXPECT_EQ(table, "");
    return;
  }
  std::istringstream lines(table);
  std::string line;
  std::getline(lines, line);
  std::istringstream heads(line);
  std::vector<std::string> names;
  for (std::string name; heads >> name;) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"rank", "data", "tensor", "host", "pid", "threads", "cores"}));
  for (int rank = 0; rank < world->size(); ++rank) {
    EXPECT_TRUE(std::getline(lines, line)) << table;
    std::istringstream cells(line);
    int number = -1;
    int data_rank = -1;
    int tensor_rank = -1;
    std::string host;
    long pid = 0;
    int threads = 0;
    std::string cores;
    cells >> number >> data_rank >> tensor_rank >> host >> pid >> threads >> cores;
    EXPECT_EQ(number, rank) << table;
    EXPECT_EQ(data_rank, rank / tensor) << table;
    EXPECT_EQ(tensor_rank, rank % tensor) << table;
    EXPECT_EQ(host, host_name()) << table;
    EXPECT_GT(pid, 0) << table;
    EXPECT_TRUE(rank != 0 || pid == static_cast<long>(getpid())) << table;
    EXPECT_EQ(threads, 5) << table;
    EXPECT_FALSE(cores.empty()) << table;
  }
  EXPECT_FALSE(std::getline(lines, line)) << table;
}

TEST(RankTable, NamesTheGpusWhereThereAreAny) {
  const auto world = test_runtime().world();
  const std::string table = describe_ranks(*world, 1, 5, world->rank() == 0 ? "0: a GPU" : "");
  if (world->rank() != 0) return;
  std::istringstream lines(table);
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(line.substr(line.find_last_of(' ') + 1), "gpu") << table;
  std::getline(lines, line);
  EXPECT_NE(line.find("0: a GPU"), std::string::npos) << table;
}

TEST(AllReduceTiming, IsTheSameOnEveryRankAndCountsWhatIsSent) {
  const auto world = test_runtime().world();
  std::vector<float> values(1 << 18);
  world->all_reduce(tensor_of(values), Reduction::sum);
  const auto sent = static_cast<double>(world->traffic().bytes);
  const AllReduceTiming timing = time_all_reduce(*world, 1 << 20);
  EXPECT_GT(timing.seconds, 0.0);
  // Where 2^18 does not divide by the ranks, one rank's part is a few bytes shorter.
  EXPECT_NEAR(timing.bytes_per_second * timing.seconds, sent, 1e-4 * sent);
  std::vector<double> largest = {timing.seconds};
  world->all_reduce(std::span<double>(largest), Reduction::max);
  EXPECT_EQ(largest[0], timing.seconds);
}

}  // namespace
}  // namespace headroom
