// Every collective on tensors against its definition, bit by bit.
#include <gtest/gtest.h>

#include <limits>

#include "tests/mpi_world.h"
#include "tests/parallel/numbers.h"

namespace headroom {
namespace {

template <class T>
class Collectives : public testing::Test {
 protected:
  std::unique_ptr<Communicator> world_ = test_runtime().world();
  int rank_ = world_->rank();
  int size_ = world_->size();
};

using Numbers = testing::Types<float, double>;
TYPED_TEST_SUITE(Collectives, Numbers);

// What all_gather must give: rank r's numbers [0, shard) at place r.
template <class T>
std::vector<T> gathered(int ranks, std::int64_t shard) {
  std::vector<T> whole;
  for (int rank = 0; rank < ranks; ++rank) {
    const auto part = numbers<T>(rank, 0, shard);
    whole.insert(whole.end(), part.begin(), part.end());
  }
  return whole;
}

TYPED_TEST(Collectives, AllGatherPutsTheShardsInRankOrder) {
  for (const std::int64_t n : shard_sizes()) {
    auto shard = numbers<TypeParam>(this->rank_, 0, n);
    std::vector<TypeParam> whole(static_cast<std::size_t>(n * this->size_), TypeParam{-1});
    this->world_->all_gather(tensor_of(shard), tensor_of(whole));
    EXPECT_TRUE(same_bits(whole, gathered<TypeParam>(this->size_, n))) << "shards of " << n;
    EXPECT_TRUE(same_bits(shard, numbers<TypeParam>(this->rank_, 0, n))) << "the input changed";
  }
}

TYPED_TEST(Collectives, AllGatherWorksInPlace) {
  for (const std::int64_t n : shard_sizes()) {
    std::vector<TypeParam> whole(static_cast<std::size_t>(n * this->size_), TypeParam{-1});
    const auto own = numbers<TypeParam>(this->rank_, 0, n);
    std::copy(own.begin(), own.end(), whole.begin() + this->rank_ * n);
    const Tensor tensor = tensor_of(whole);
    this->world_->all_gather(tensor.flat_range(this->rank_ * n, n), tensor);
    EXPECT_TRUE(same_bits(whole, gathered<TypeParam>(this->size_, n))) << "shards of " << n;
  }
}

TYPED_TEST(Collectives, ReduceScatterSumsInRankOrder) {
  for (const std::int64_t n : shard_sizes()) {
    auto whole = numbers<TypeParam>(this->rank_, 0, n * this->size_);
    std::vector<TypeParam> shard(static_cast<std::size_t>(n), TypeParam{-1});
    this->world_->reduce_scatter(tensor_of(whole), tensor_of(shard));
    EXPECT_TRUE(same_bits(shard, reduced_numbers<TypeParam>(this->size_, this->rank_ * n, n, Reduction::sum)))
        << "shards of " << n;
    EXPECT_TRUE(same_bits(whole, numbers<TypeParam>(this->rank_, 0, n * this->size_))) << "the input changed";
  }
}

TYPED_TEST(Collectives, ReduceScatterWorksInPlace) {
  for (const std::int64_t n : shard_sizes()) {
    auto whole = numbers<TypeParam>(this->rank_, 0, n * this->size_);
    auto expected = whole;  // but for the own place
    const auto sum = reduced_numbers<TypeParam>(this->size_, this->rank_ * n, n, Reduction::sum);
    std::copy(sum.begin(), sum.end(), expected.begin() + this->rank_ * n);
    const Tensor tensor = tensor_of(whole);
    this->world_->reduce_scatter(tensor, tensor.flat_range(this->rank_ * n, n));
    EXPECT_TRUE(same_bits(whole, expected)) << "shards of " << n;
  }
}

// Sizes that do not divide by the ranks too: the small ones take another way than the large ones.
TYPED_TEST(Collectives, AllReduceIsTheReductionInRankOrderOnEveryRank) {
  for (const Reduction reduction : {Reduction::sum, Reduction::max}) {
    for (const std::int64_t n : shard_sizes()) {
      for (const std::int64_t elements : {n, n * this->size_ + 1}) {
        auto values = numbers<TypeParam>(this->rank_, 0, elements);
        this->world_->all_reduce(tensor_of(values), reduction);
        EXPECT_TRUE(same_bits(values, reduced_numbers<TypeParam>(this->size_, 0, elements, reduction)))
            << elements << " elements, " << (reduction == Reduction::sum ? "sum" : "max");
      }
    }
  }
}

TYPED_TEST(Collectives, AMaximumOverANaNIsNaN) {
  constexpr TypeParam kNaN = std::numeric_limits<TypeParam>::quiet_NaN();
  for (int culprit = 0; culprit < this->size_; ++culprit) {
    std::vector<TypeParam> values = {this->rank_ == culprit ? kNaN : TypeParam{1}, TypeParam{2}};
    this->world_->all_reduce(tensor_of(values), Reduction::max);
    EXPECT_TRUE(std::isnan(values[0])) << "of rank " << culprit;
    EXPECT_EQ(values[1], TypeParam{2});
  }
}

TYPED_TEST(Collectives, RepetitionGivesTheSameBits) {
  const std::int64_t n = 30011;
  std::vector<TypeParam> first;
  for (int repeat = 0; repeat < 20; ++repeat) {
    auto whole = numbers<TypeParam>(this->rank_, 0, n * this->size_);
    std::vector<TypeParam> shard(static_cast<std::size_t>(n));
    this->world_->reduce_scatter(tensor_of(whole), tensor_of(shard));
    if (repeat == 0) first = shard;
    EXPECT_TRUE(same_bits(shard, first)) << "repetition " << repeat;
  }
}

TEST(HostNumbers, AreReducedOverTheRanks) {
  const auto world = test_runtime().world();
  const int size = world->size();
  std::vector<double> reals = numbers<double>(world->rank(), 0, 5);
  world->all_reduce(std::span<double>(reals), Reduction::sum);
  EXPECT_TRUE(same_bits(reals, reduced_numbers<double>(size, 0, 5, Reduction::sum)));

  std::vector<std::int64_t> integers = {world->rank(), -world->rank(), std::int64_t{1} << 60};
  world->all_reduce(std::span<std::int64_t>(integers), Reduction::max);
  EXPECT_EQ(integers, (std::vector<std::int64_t>{size - 1, 0, std::int64_t{1} << 60}));
  integers = {world->rank() + 1, std::int64_t{1} << 55};
  world->all_reduce(std::span<std::int64_t>(integers), Reduction::sum);
  EXPECT_EQ(integers, (std::vector<std::int64_t>{size * (size + 1) / 2, size * (std::int64_t{1} << 55)}));

  std::vector<std::int64_t> many(20011, world->rank());  // more than a small all-reduce takes
  world->all_reduce(std::span<std::int64_t>(many), Reduction::sum);
  EXPECT_EQ(many, std::vector<std::int64_t>(20011, size * (size - 1) / 2));
}

TEST(ShardChecks, RefuseWhatDoesNotFit) {
  const auto world = test_runtime().world();
  std::vector<float> whole(static_cast<std::size_t>(4 * world->size() + 1));
  std::vector<double> other(4);
  const Tensor tensor = tensor_of(whole);
  const Tensor even = tensor.flat_range(0, 4 * world->size());
  EXPECT_THROW(world->all_gather(tensor_of(other), even), Error) << "another dtype";
  EXPECT_THROW(world->reduce_scatter(tensor, tensor.flat_range(4 * world->rank(), 4)), Error) << "not a multiple";
  EXPECT_THROW(world->reduce_scatter(even, tensor.flat_range(4 * world->rank() + 1, 4)), Error) << "a wrong overlap";
}

}  // namespace
}  // namespace headroom
