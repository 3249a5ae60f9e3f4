// Asynchronous collectives: several in flight, waited for in any order, driven by progress() alone, or dropped.
#include <gtest/gtest.h>

#include "tests/parallel/place.h"

namespace headroom {
namespace {

template <class Place>
using Asynchronous = AtPlace<Place>;
TYPED_TEST_SUITE(Asynchronous, Places, PlaceNames);

// A reduce-scatter and an all-gather of one size under way together.
template <class Place>
struct Flight {
  Flight(Communicator& world, std::int64_t shard)
      : n(shard),
        whole(numbers<double>(world.rank(), 0, shard * world.size()), Place::kDevice),
        sum(unwritten<double>(shard, Place::kDevice)),
        own(numbers<float>(world.rank(), 0, shard), Place::kDevice),
        all(unwritten<float>(shard * world.size(), Place::kDevice)) {
    reduce = world.reduce_scatter_async(whole.tensor(), sum.tensor());
    gather = world.all_gather_async(own.tensor(), all.tensor());
  }

  void expect_done(const Communicator& world) const {
    const auto sums = reduced_numbers<double>(world.size(), world.rank() * n, n, Reduction::sum);
    EXPECT_TRUE(is_sum<Place>(sum.values(), sums, world.size()));
    std::vector<float> expected;
    for (int rank = 0; rank < world.size(); ++rank) {
      const auto part = numbers<float>(rank, 0, n);
      expected.insert(expected.end(), part.begin(), part.end());
    }
    EXPECT_TRUE(same_bits(all.values(), expected)) << "shards of " << n;
  }

  std::int64_t n;
  Placed<double> whole;
  Placed<double> sum;
  Placed<float> own;
  Placed<float> all;
  std::unique_ptr<Pending> reduce;
  std::unique_ptr<Pending> gather;
};

template <class Place>
std::vector<std::unique_ptr<Flight<Place>>> start_all(Communicator& world) {
  std::vector<std::unique_ptr<Flight<Place>>> flights;
  const auto& sizes = Place::kDevice == Device::cpu ? shard_sizes() : smaller_shard_sizes();
  for (const std::int64_t n : sizes) flights.push_back(std::make_unique<Flight<Place>>(world, n));
  return flights;
}

TYPED_TEST(Asynchronous, ManyInFlightAreWaitedForInOrder) {
  const auto flights = start_all<TypeParam>(*this->world_);
  for (const auto& flight : flights) {
    flight->reduce->wait();
    flight->gather->wait();
    flight->expect_done(*this->world_);
  }
}

// Even ranks wait from the front, odd ones from the back: waiting for one must serve the others' needs too.
TYPED_TEST(Asynchronous, RanksMayWaitInDifferentOrders) {
  auto flights = start_all<TypeParam>(*this->world_);
  if (this->world_->rank() % 2 == 1) std::reverse(flights.begin(), flights.end());
  for (const auto& flight : flights) {
    flight->gather->wait();
    flight->reduce->wait();
    flight->expect_done(*this->world_);
  }
}

TYPED_TEST(Asynchronous, ProgressAloneCompletesThem) {
  const auto flights = start_all<TypeParam>(*this->world_);
  for (const auto& flight : flights) {
    while (!flight->reduce->progress()) flight->gather->progress();
    while (!flight->gather->progress()) {
    }
    EXPECT_TRUE(flight->reduce->progress()) << "complete stays complete";
    flight->expect_done(*this->world_);
  }
}

TYPED_TEST(Asynchronous, DestroyingAnUnfinishedOneWaitsForIt) {
  const auto flights = start_all<TypeParam>(*this->world_);
  for (const auto& flight : flights) {
    flight->reduce.reset();
    flight->gather.reset();
    flight->expect_done(*this->world_);
  }
}

// Several times over, as the steps of a run: what the first has left in the communicator serves the next.
TYPED_TEST(Asynchronous, MemoryIsUsedAgain) {
  for (int step = 0; step < 3; ++step) {
    const auto flights = start_all<TypeParam>(*this->world_);
    for (const auto& flight : flights) {
      flight->gather->wait();
      flight->reduce->wait();
    }
    for (const auto& flight : flights) flight->expect_done(*this->world_);
  }
}

TYPED_TEST(Asynchronous, BlockingCallsAndOtherGroupsMayComeBetween) {
  const auto pairs = this->world_->split(this->world_->rank() / 2, this->world_->rank());
  const auto flights = start_all<TypeParam>(*this->world_);
  for (const auto& flight : flights) {
    const Placed<float> values(numbers<float>(pairs->rank(), 0, 100003), TypeParam::kDevice);
    pairs->all_reduce(values.tensor(), Reduction::sum);
    const auto expected = reduced_numbers<float>(pairs->size(), 0, 100003, Reduction::sum);
    EXPECT_TRUE(is_sum<TypeParam>(values.values(), expected, pairs->size()));
    this->world_->barrier();
    flight->gather->wait();
    flight->reduce->wait();
    flight->expect_done(*this->world_);
  }
}

TYPED_TEST(Asynchronous, APendingMayOutliveItsCommunicator) {
  const int rank = this->world_->rank();
  const int last = this->world_->size() - 1;
  const Placed<float> own(numbers<float>(rank, 0, 200000), TypeParam::kDevice);
  const auto all = unwritten<float>(200000 * (last + 1), TypeParam::kDevice);
  const auto pending = this->world_->all_gather_async(own.tensor(), all.tensor());
  this->world_.reset();
  pending->wait();
  EXPECT_EQ(all.values()[static_cast<std::size_t>(last) * 200000 + 7], number<float>(last, 7));
}

// The other ranks may never take part: a rank with an exception under way must not wait for them.
TYPED_TEST(Asynchronous, AnExceptionGivesUpWhatIsUnderWay) {
  auto doomed = this->world_->split(0, this->world_->rank());
  const auto own = unwritten<float>(300000, TypeParam::kDevice);
  const auto all = unwritten<float>(300000 * this->world_->size(), TypeParam::kDevice);
  if (this->world_->rank() == 0) {
    EXPECT_THROW(
        {
          const auto pending = doomed->all_gather_async(own.tensor(), all.tensor());
          throw std::runtime_error("elsewhere");
        },
        std::runtime_error);
    doomed.reset();
  }
  this->world_->barrier();
}

}  // namespace
}  // namespace headroom
