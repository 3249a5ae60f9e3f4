// Control messages, subgroups and accounts.
#include <gtest/gtest.h>

#include <functional>
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

// What each call hands to the library, worked out by hand; sizes that do not divide by the ranks too.
TEST(Accounts, TrafficIsWhatWasSent) {
  const auto world = test_runtime().world();
  const std::int64_t n = world->size();
  const bool root = world->rank() == 0;
  std::vector<float> whole(static_cast<std::size_t>(700 * n));
  std::vector<float> shard(700);
  std::int64_t before = 0;
  const auto expect_sent = [&](std::int64_t bytes, const char* what) {
    EXPECT_EQ(world->traffic().bytes - before, bytes) << what;
    before = world->traffic().bytes;
  };

  world->all_gather(tensor_of(shard), tensor_of(whole));
  expect_sent(2800 * (n - 1), "all_gather: the own shard to each other rank");
  world->reduce_scatter(tensor_of(whole), tensor_of(shard));
  expect_sent(2800 * (n - 1), "reduce_scatter: each other rank's part");
  world->all_gather_async(tensor_of(shard), tensor_of(whole))->wait();
  expect_sent(2800 * (n - 1), "all_gather_async");
  world->reduce_scatter_async(tensor_of(whole), tensor_of(shard))->wait();
  expect_sent(2800 * (n - 1), "reduce_scatter_async");

  std::vector<double> few(13);
  world->all_reduce(std::span<double>(few), Reduction::max);
  expect_sent(13 * 8 * (n - 1), "a small all_reduce: everything to everyone");
  std::vector<std::int64_t> integers(3);
  world->all_reduce(std::span<std::int64_t>(integers), Reduction::sum);
  expect_sent(3 * 8 * (n - 1), "an all_reduce of integers");
  // A large one: the others' parts, then the own part to each. Of 20001 floats the last rank's part is the shorter one.
  std::vector<float> many(20001);
  const std::int64_t part = (20001 + n - 1) / n;
  const std::int64_t own = world->rank() == n - 1 ? 20001 - part * (n - 1) : part;
  world->all_reduce(tensor_of(many), Reduction::sum);
  expect_sent(n == 1 ? 0 : 4 * (20001 - own + own * (n - 1)), "a large all_reduce");

  // Messages of bytes begin with everyone's length.
  world->gather_bytes(std::vector<std::byte>(11), 0);
  expect_sent(8 * (n - 1) + (root ? 0 : 11), "gather_bytes");
  world->broadcast_bytes(std::vector<std::byte>(17), 0);
  expect_sent(8 * (n - 1) + (root ? 17 * (n - 1) : 0), "broadcast_bytes");
  world->barrier();
  world->split(0, 0);
  expect_sent(0, "barrier and split");
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

// Two calls that do not match, made by rank 0 and by all others: every rank says both.
struct DifferingCalls {
  const char* what;
  std::function<void(Communicator&)> of_rank_0;
  const char* name_of_rank_0;
  std::function<void(Communicator&)> of_others;
  const char* name_of_others;
};

std::function<void(Communicator&)> all_reduce_of(std::int64_t count, Reduction reduction = Reduction::sum) {
  return [=](Communicator& group) {
    std::vector<double> values(static_cast<std::size_t>(count));
    group.all_reduce(std::span<double>(values), reduction);
  };
}

std::vector<DifferingCalls> mismatches() {
  const auto integers = [](Communicator& group) {
    std::vector<std::int64_t> values(3);
    group.all_reduce(std::span<std::int64_t>(values), Reduction::sum);
  };
  const auto floats = [](Communicator& group) {
    std::vector<float> values(3);
    group.all_reduce(tensor_of(values), Reduction::sum);
  };
  const auto gather_to = [](int root) {
    return [=](Communicator& group) { group.gather_bytes(std::vector<std::byte>(5), root); };
  };
  const auto broadcast = [](Communicator& group) { group.broadcast_bytes(std::vector<std::byte>(5), 0); };
  const auto barrier = [](Communicator& group) { group.barrier(); };
  const auto gather = [](Communicator& group) {
    std::vector<double> shard(9);
    std::vector<double> whole(static_cast<std::size_t>(9 * group.size()));
    group.all_gather(tensor_of(shard), tensor_of(whole));
  };
  const auto scatter = [](Communicator& group) {
    std::vector<double> shard(9);
    std::vector<double> whole(static_cast<std::size_t>(9 * group.size()));
    group.reduce_scatter(tensor_of(whole), tensor_of(shard));
  };
  return {
      {"two collectives", gather, "all_gather of", scatter, "reduce_scatter of"},
      {"two small sizes", all_reduce_of(2), "all_reduce of 2 f64", all_reduce_of(3), "all_reduce of 3 f64"},
      {"a small size and a large one", all_reduce_of(2), "all_reduce of 2 f64", all_reduce_of(50000),
       "all_reduce of 50000 f64"},
      {"two reductions", all_reduce_of(3, Reduction::max), "all_reduce (max) of 3", all_reduce_of(3),
       "all_reduce of 3"},
      {"two types", integers, "all_reduce of 3 i64", floats, "all_reduce of 3 f32"},
      {"two roots", gather_to(0), "gather_bytes to rank 0", gather_to(1), "gather_bytes to rank 1"},
      {"messages both ways", gather_to(0), "gather_bytes to rank 0", broadcast, "broadcast_bytes from rank 0"},
      {"a message and numbers", broadcast, "broadcast_bytes from rank 0", all_reduce_of(1), "all_reduce of 1 f64"},
      {"a barrier and numbers", barrier, "barrier", integers, "all_reduce of 3 i64"},
  };
}

TEST(Mismatch, OfEveryKindIsNamedOnEveryRank) {
  const auto world = test_runtime().world();
  if (world->size() == 1) return;
  for (const DifferingCalls& one : mismatches()) {
    SCOPED_TRACE(one.what);
    const auto group = world->split(0, world->rank());
    try {
      (world->rank() == 0 ? one.of_rank_0 : one.of_others)(*group);
      ADD_FAILURE() << "went unnoticed on rank " << world->rank();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::communication);
      EXPECT_NE(std::string(error.what()).find(one.name_of_rank_0), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(one.name_of_others), std::string::npos) << error.what();
    }
    world->barrier();
  }
}

}  // namespace
}  // namespace headroom
