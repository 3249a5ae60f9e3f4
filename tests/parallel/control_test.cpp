// Control messages, subgroups and accounts.
#include <gtest/gtest.h>

#include <string>

#include "tests/mpi_world.h"
#include "tests/parallel/numbers.h"

namespace headroom {
namespace {

// Rank r's message: longer with the rank, rank 0's empty; rank 3's longer than any eager message.
std::vector<std::byte> message_of(int rank) {
  const std::size_t length = rank == 3 ? 300007 : static_cast<std::size_t>(rank * 5);
  return std::vector<std::byte>(length, static_cast<std::byte>(rank + 65));
}

TEST(Control, GatherBytesBringsUnevenMessagesToTheRoot) {
  const auto world = test_runtime().world();
  for (int root = 0; root < world->size(); ++root) {
    const auto all = world->gather_bytes(message_of(world->rank()), root);
    if (world->rank() != root) {
      EXPECT_TRUE(all.empty());
      continue;
    }
    EXPECT_EQ(all.size(), static_cast<std::size_t>(world->size()));
    for (std::size_t rank = 0; rank < all.size(); ++rank) EXPECT_EQ(all[rank], message_of(static_cast<int>(rank)));
  }
}

TEST(Control, BroadcastBytesGivesEveryRankTheRootsMessage) {
  const auto world = test_runtime().world();
  for (int root = 0; root < world->size(); ++root) {
    EXPECT_EQ(world->broadcast_bytes(message_of(world->rank()), root), message_of(root));
  }
}

TEST(Control, SplitOrdersByKey) {
  const auto world = test_runtime().world();
  const int rank = world->rank();
  const int size = world->size();
  const auto reversed = world->split(0, -rank);
  EXPECT_EQ(reversed->size(), size);
  EXPECT_EQ(reversed->rank(), size - 1 - rank);

  const auto parity = world->split(rank % 2, rank);
  EXPECT_EQ(parity->size(), (size + 1 - rank % 2) / 2);
  EXPECT_EQ(parity->rank(), rank / 2);
  std::vector<std::int64_t> sum = {rank};
  parity->all_reduce(std::span<std::int64_t>(sum), Reduction::sum);
  std::int64_t expected = 0;
  for (int other = rank % 2; other < size; other += 2) expected += other;
  EXPECT_EQ(sum[0], expected);

  EXPECT_EQ(world->split(rank, 0)->size(), 1);
}

TEST(Accounts, TrafficFollowsTheFormulas) {
  const auto world = test_runtime().world();
  const std::int64_t n = world->size();
  const bool root = world->rank() == 0;
  std::vector<float> whole(static_cast<std::size_t>(700 * n));
  std::vector<float> shard(700);
  std::vector<double> odd(13);
  const std::int64_t whole_bytes = 700 * n * 4;
  std::int64_t calls = 0;
  std::int64_t before = 0;
  const auto expect_sent = [&](std::int64_t bytes, const char* what) {
    EXPECT_EQ(world->traffic().bytes - before, bytes) << what;
    EXPECT_EQ(world->traffic().calls, ++calls) << what;
    before = world->traffic().bytes;
  };

  world->all_gather(tensor_of(shard), tensor_of(whole));
  expect_sent(whole_bytes * (n - 1) / n, "all_gather");
  world->reduce_scatter(tensor_of(whole), tensor_of(shard));
  expect_sent(whole_bytes * (n - 1) / n, "reduce_scatter");
  world->all_gather_async(tensor_of(shard), tensor_of(whole))->wait();
  expect_sent(whole_bytes * (n - 1) / n, "all_gather_async");
  world->reduce_scatter_async(tensor_of(whole), tensor_of(shard))->wait();
  expect_sent(whole_bytes * (n - 1) / n, "reduce_scatter_async");
  world->all_reduce(tensor_of(whole), Reduction::sum);
  expect_sent(2 * whole_bytes * (n - 1) / n, "all_reduce");
  world->all_reduce(std::span<double>(odd), Reduction::max);
  expect_sent(2 * 13 * 8 * (n - 1) / n, "all_reduce of numbers");
  world->broadcast(tensor_of(shard), 0);
  expect_sent(root && n > 1 ? 2800 : 0, "broadcast");
  world->gather_bytes(std::vector<std::byte>(11), 0);
  expect_sent(root ? 0 : 11, "gather_bytes");
  world->broadcast_bytes(std::vector<std::byte>(17), 0);
  expect_sent(root && n > 1 ? 17 : 0, "broadcast_bytes");
  world->barrier();
  EXPECT_EQ(world->traffic().calls, calls) << "a barrier carries nothing";
}

TEST(Accounts, WaitingTimeGrowsWhileOthersAreLate) {
  const auto world = test_runtime().world();
  world->barrier();
  const double before = world->seconds_waiting();
  if (world->rank() == 0) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
    while (std::chrono::steady_clock::now() < until) {
    }
  }
  world->barrier();
  const double waited = world->seconds_waiting() - before;
  if (world->size() == 1) {
    EXPECT_EQ(waited, 0.0);
  } else if (world->rank() > 0) {
    EXPECT_GT(waited, 0.03);
  }
}

// Ranks whose calls differ find out instead of hanging or overwriting memory.
TEST(Mismatch, IsNamedOnEveryRank) {
  const auto world = test_runtime().world();
  if (world->size() == 1) return;  // nobody to differ from
  struct Case {
    const char* what;
    std::int64_t elements_of_rank_0;
  };
  for (const Case& one : {Case{"another size", 12}, Case{"a much larger one", 3000000}}) {
    const auto group = world->split(0, world->rank());
    const std::int64_t n = world->rank() == 0 ? one.elements_of_rank_0 : 7;
    std::vector<float> shard(static_cast<std::size_t>(n));
    std::vector<float> whole(static_cast<std::size_t>(n * world->size()), 5.0f);
    // Ranks above 1 may be served by each other, so only a rank with a differing peer must throw: all, since all
    // exchange with rank 0.
    try {
      group->reduce_scatter(tensor_of(whole), tensor_of(shard));
      ADD_FAILURE() << one.what << " went unnoticed on rank " << world->rank();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::communication);
      EXPECT_NE(std::string(error.what()).find("reduce_scatter of"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(std::to_string(7 * world->size()) + " f32"), std::string::npos)
          << error.what();
    }
    EXPECT_TRUE(same_bits(whole, std::vector<float>(whole.size(), 5.0f)));
    world->barrier();
  }
}

TEST(Mismatch, OfTheCollectiveIsNamed) {
  const auto world = test_runtime().world();
  if (world->size() == 1) return;
  const auto group = world->split(0, world->rank());
  std::vector<double> shard(9);
  std::vector<double> whole(static_cast<std::size_t>(9 * world->size()));
  try {
    if (world->rank() == 0) {
      group->all_gather(tensor_of(shard), tensor_of(whole));
    } else {
      group->reduce_scatter(tensor_of(whole), tensor_of(shard));
    }
    ADD_FAILURE() << "went unnoticed on rank " << world->rank();
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("all_gather"), std::string::npos) << text;
    EXPECT_NE(text.find("reduce_scatter"), std::string::npos) << text;
  }
  world->barrier();
}

}  // namespace
}  // namespace headroom
