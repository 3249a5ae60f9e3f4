// Asynchronous collectives: several in flight, waited for in any order, driven by progress() alone, or dropped.
#include <gtest/gtest.h>

#include "tests/mpi_world.h"
#include "tests/parallel/numbers.h"

namespace headroom {
namespace {

// A reduce-scatter and an all-gather of one size under way together.
struct Flight {
  Flight(Communicator& world, std::int64_t shard)
      : n(shard),
        whole(numbers<double>(world.rank(), 0, shard * world.size())),
        sum(static_cast<std::size_t>(shard), -1.0),
        own(numbers<float>(world.rank(), 0, shard)),
        all(static_cast<std::size_t>(shard * world.size()), -1.0f) {
    reduce = world.reduce_scatter_async(tensor_of(whole), tensor_of(sum));
    gather = world.all_gather_async(tensor_of(own), tensor_of(all));
  }

  void expect_done(const Communicator& world) const {
    EXPECT_TRUE(same_bits(sum, reduced_numbers<double>(world.size(), world.rank() * n, n, Reduction::sum)));
    std::vector<float> expected;
    for (int rank = 0; rank < world.size(); ++rank) {
      const auto part = numbers<float>(rank, 0, n);
      expected.insert(expected.end(), part.begin(), part.end());
    }
    EXPECT_TRUE(same_bits(all, expected)) << "shards of " << n;
  }

  std::int64_t n;
  std::vector<double> whole;
  std::vector<double> sum;
  std::vector<float> own;
  std::vector<float> all;
  std::unique_ptr<Pending> reduce;
  std::unique_ptr<Pending> gather;
};

std::vector<std::unique_ptr<Flight>> start_all(Communicator& world) {
  std::vector<std::unique_ptr<Flight>> flights;
  for (const std::int64_t n : shard_sizes()) flights.push_back(std::make_unique<Flight>(world, n));
  return flights;
}

TEST(Asynchronous, ManyInFlightAreWaitedForInOrder) {
  const auto world = test_runtime().world();
  const auto flights = start_all(*world);
  for (const auto& flight : flights) {
    flight->reduce->wait();
    flight->gather->wait();
    flight->expect_done(*world);
  }
}

// Even ranks wait from the front, odd ones from the back: waiting for one must serve the others' needs too.
TEST(Asynchronous, RanksMayWaitInDifferentOrders) {
  const auto world = test_runtime().world();
  auto flights = start_all(*world);
  std::vector<Flight*> order;
  for (const auto& flight : flights) order.push_back(flight.get());
  if (world->rank() % 2 == 1) std::reverse(order.begin(), order.end());
  for (Flight* flight : order) {
    flight->gather->wait();
    flight->reduce->wait();
    flight->expect_done(*world);
  }
}

TEST(Asynchronous, ProgressAloneCompletesThem) {
  const auto world = test_runtime().world();
  const auto flights = start_all(*world);
  for (const auto& flight : flights) {
    while (!flight->reduce->progress()) flight->gather->progress();
    while (!flight->gather->progress()) {
    }
    EXPECT_TRUE(flight->reduce->progress()) << "complete stays complete";
    flight->expect_done(*world);
  }
}

TEST(Asynchronous, DestroyingAnUnfinishedOneWaitsForIt) {
  const auto world = test_runtime().world();
  const auto flights = start_all(*world);
  for (const auto& flight : flights) {
    flight->reduce.reset();
    flight->gather.reset();
    flight->expect_done(*world);
  }
}

TEST(Asynchronous, BlockingCallsAndOtherGroupsMayComeBetween) {
  const auto world = test_runtime().world();
  const auto pairs = world->split(world->rank() / 2, world->rank());
  const auto flights = start_all(*world);
  for (const auto& flight : flights) {
    auto values = numbers<float>(pairs->rank(), 0, 100003);
    pairs->all_reduce(tensor_of(values), Reduction::sum);
    EXPECT_TRUE(same_bits(values, reduced_numbers<float>(pairs->size(), 0, 100003, Reduction::sum)));
    world->barrier();
    flight->gather->wait();
    flight->reduce->wait();
    flight->expect_done(*world);
  }
}

TEST(Asynchronous, APendingMayOutliveItsCommunicator) {
  auto world = test_runtime().world();
  const auto split = world->split(0, world->rank());
  const int rank = world->rank();
  auto own = numbers<float>(rank, 0, 200000);
  std::vector<float> all(own.size() * static_cast<std::size_t>(world->size()));
  const auto pending = world->all_gather_async(tensor_of(own), tensor_of(all));
  world.reset();
  pending->wait();
  EXPECT_EQ(all[static_cast<std::size_t>(split->size() - 1) * own.size() + 7], number<float>(split->size() - 1, 7));
}

// The other ranks may never take part: a rank with an exception under way must not wait for them.
TEST(Asynchronous, AnExceptionGivesUpWhatIsUnderWay) {
  const auto world = test_runtime().world();
  const auto doomed = world->split(0, world->rank());
  std::vector<float> own(300000);
  std::vector<float> all(own.size() * static_cast<std::size_t>(world->size()));
  if (world->rank() == 0) {
    EXPECT_THROW(
        {
          const auto pending = doomed->all_gather_async(tensor_of(own), tensor_of(all));
          throw std::runtime_error("elsewhere");
        },
        std::runtime_error);
  }
  world->barrier();
}

}  // namespace
}  // namespace headroom
