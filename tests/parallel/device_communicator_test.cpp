// Which GPU a rank takes, and which way its tensors go.
#include "parallel/device_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "parallel/local_gpu.h"
#include "parallel/rank_words.h"
#include "tensor/backend.h"
#include "tests/parallel/place.h"

namespace headroom {
namespace {

using testing::HasSubstr;

EnvironmentLookup environment(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  };
}

TEST(LocalRank, IsWhatTheLauncherSays) {
  const std::vector<std::string> hosts(8, "n1");
  EXPECT_EQ(local_rank(environment({{"OMPI_COMM_WORLD_LOCAL_RANK", "2"}, {"SLURM_LOCALID", "0"}}), hosts, 5), 2)
      << "mpirun inside a Slurm job";
  EXPECT_EQ(local_rank(environment({{"SLURM_LOCALID", "3"}}), hosts, 5), 3);
  EXPECT_EQ(local_rank(environment({{"MPI_LOCALRANKID", "1"}}), hosts, 5), 1);
  EXPECT_EQ(local_rank(environment({{"SLURM_LOCALID", "many"}}), hosts, 5), 5) << "by the hosts then";
}

TEST(LocalRank, ElseCountsTheRanksOfTheHost) {
  const std::vector<std::string> hosts = {"n1", "n2", "n1", "n2", "n1"};
  EXPECT_EQ(local_rank(environment({}), hosts, 0), 0);
  EXPECT_EQ(local_rank(environment({}), hosts, 1), 0);
  EXPECT_EQ(local_rank(environment({}), hosts, 3), 1);
  EXPECT_EQ(local_rank(environment({}), hosts, 4), 2);
}

const std::vector<RankGpu> kApart = {{"n1", "a", ""}, {"n1", "b", ""}, {"n2", "c", ""}, {"n2", "d", ""}};
const std::vector<RankGpu> kShared = {
    {"n1", "a", ""}, {"n1", "a", ""}, {"n2", "c", ""}, {"n1", "a", ""}, {"n2", "c", ""}};

TEST(SharedGpus, AreNamedWithTheirRanks) {
  EXPECT_EQ(shared_gpus(kApart), "");
  EXPECT_EQ(shared_gpus(kShared), "ranks 0, 1 and 3 share a GPU (a on n1); ranks 2 and 4 share a GPU (c on n2)");
}

TEST(Transport, AutomaticTakesNcclWhereItServesEveryRank) {
  EXPECT_EQ(choose_transport(kApart, Transport::automatic).transport, Transport::nccl);
  EXPECT_EQ(choose_transport(kApart, Transport::automatic).text, "NCCL");
  const ChosenTransport shared = choose_transport(kShared, Transport::automatic);
  EXPECT_EQ(shared.transport, Transport::staged);
  EXPECT_THAT(shared.text, HasSubstr("through host memory: ranks 0, 1 and 3 share a GPU (a on n1)"));
  auto lacking = kApart;
  lacking[2].why_no_nccl = "libnccl.so.2 is not there";
  const ChosenTransport without = choose_transport(lacking, Transport::automatic);
  EXPECT_EQ(without.transport, Transport::staged);
  EXPECT_THAT(without.text, HasSubstr("libnccl.so.2 is not there (rank 2 on n2)"));
}

TEST(Transport, IsWhatIsAskedForOrAnError) {
  EXPECT_EQ(choose_transport(kApart, Transport::nccl).transport, Transport::nccl);
  EXPECT_EQ(choose_transport(kApart, Transport::staged).transport, Transport::staged);
  EXPECT_EQ(choose_transport(kShared, Transport::staged).transport, Transport::staged);
  try {
    choose_transport(kShared, Transport::nccl);
    ADD_FAILURE() << "NCCL between ranks that share a GPU";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_config);
    EXPECT_THAT(error.what(), HasSubstr("ranks 2 and 4 share a GPU (c on n2)"));
  }
}

TEST(RankWords, ComeFromEveryRankToEveryRank) {
  const auto world = test_runtime().world();
  const auto told = gather_words(*world, {fmt::format("rank {}", world->rank()), "", "two\nlines"});
  EXPECT_EQ(told.size(), static_cast<std::size_t>(world->size()));
  for (std::size_t rank = 0; rank < told.size(); ++rank) {
    EXPECT_EQ(told[rank], (std::vector<std::string>{fmt::format("rank {}", rank), "", "two lines"}));
  }
}

TEST(DeviceCommunicator, OfTheCpuIsTheHosts) {
  auto world = test_runtime().world();
  const Communicator* const host = world.get();
  const DeviceCommunicator made = for_device(std::move(world), Device::cpu, Transport::nccl);
  EXPECT_EQ(made.communicator.get(), host);
  EXPECT_EQ(made.transport, host->size() == 1 ? "" : "MPI");
}

// With one GPU a rank it says nothing; else which ranks share which.
TEST(LocalGpu, IsSelectedAndSaysWhoSharesIt) {
  if (why_no_gpu_for_all()) GTEST_SKIP() << *why_no_gpu_for_all();
  const auto world = test_runtime().world();
  const LocalGpu gpu = select_local_gpu(*world);
  EXPECT_FALSE(gpu.name.empty());
  EXPECT_LT(gpu.index, static_cast<int>(backend(Device::cuda).devices().size()));
  EXPECT_EQ(gpu.note, shared_gpus(gather_gpus(*world)));
}

TEST(LocalGpu, IsMissedOnEveryRankWithARankAndItsHost) {
  if (!why_no_gpu_for_all()) GTEST_SKIP() << "there is a GPU";
  EXPECT_THAT(*why_no_gpu_for_all(), HasSubstr("no GPU to run on for rank 0 on "));
}

TEST(AllReduceTiming, OfAGpu) {
  if (why_no_gpu_for_all()) GTEST_SKIP() << *why_no_gpu_for_all();
  const DeviceCommunicator made = for_device(test_runtime().world(), Device::cuda);
  const AllReduceTiming timing = time_all_reduce(*made.communicator, 1 << 16, Device::cuda);
  EXPECT_GT(timing.seconds, 0.0);
}

// A device's collectives count as the host's do; control messages of the same communicator are in it.
TEST(Accounts, OfTensorsOfAGpu) {
  if (why_no_gpu_for_all()) GTEST_SKIP() << *why_no_gpu_for_all();
  for (const Transport transport : {Transport::staged, Transport::nccl}) {
    if (transport == Transport::nccl && why_no_nccl_for_all()) continue;
    const auto world = for_device(test_runtime().world(), Device::cuda, transport).communicator;
    const std::int64_t n = world->size();
    const auto whole = unwritten<float>(700 * n, Device::cuda);
    const auto shard = unwritten<float>(700, Device::cuda);
    const auto large = unwritten<float>(20000 * n, Device::cuda);
    std::int64_t before = world->traffic().bytes;
    const auto expect_sent = [&](std::int64_t bytes, const char* what) {
      EXPECT_EQ(world->traffic().bytes - before, bytes) << what << ", " << name_of(transport);
      before = world->traffic().bytes;
    };
    world->all_gather(shard.tensor(), whole.tensor());
    expect_sent(2800 * (n - 1), "all_gather");
    world->reduce_scatter_async(whole.tensor(), shard.tensor())->wait();
    expect_sent(2800 * (n - 1), "reduce_scatter");
    world->all_reduce(large.tensor(), Reduction::sum);
    expect_sent(2 * 80000 * (n - 1), "all_reduce");
    std::vector<double> few(13);
    world->all_reduce(std::span<double>(few), Reduction::max);
    expect_sent(13 * 8 * (n - 1), "an all_reduce of numbers");
    EXPECT_GE(world->seconds_waiting(), 0.0);
  }
}

// The device stands still while another rank is late; over NCCL that is measured on the device.
TEST(Accounts, WaitingTimeOfAGpu) {
  if (why_no_gpu_for_all()) GTEST_SKIP() << *why_no_gpu_for_all();
  for (const Transport transport : {Transport::staged, Transport::nccl}) {
    if (transport == Transport::nccl && why_no_nccl_for_all()) continue;
    const auto world = for_device(test_runtime().world(), Device::cuda, transport).communicator;
    const auto values = unwritten<float>(7, Device::cuda);
    world->all_reduce(values.tensor(), Reduction::sum);  // connections
    backend(Device::cuda).synchronize();
    world->barrier();
    const double before = world->seconds_waiting();
    if (world->rank() == 0) {
      const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
      while (std::chrono::steady_clock::now() < until) {
      }
    }
    world->all_reduce(values.tensor(), Reduction::sum);
    backend(Device::cuda).synchronize();
    const double waited = world->seconds_waiting() - before;
    EXPECT_TRUE(world->rank() == 0 || waited > 0.02) << waited << " s, " << name_of(transport);
  }
}

}  // namespace
}  // namespace headroom
