// Every collective on tensors against its definition, bit by bit where sums are in rank order, wherever tensors may be.
#include <gtest/gtest.h>

#include <limits>

#include "tests/parallel/place.h"

namespace headroom {
namespace {

template <class T, class P>
struct At {
  using Number = T;
  using Place = P;
};

template <class Case>
class Collectives : public AtPlace<typename Case::Place> {
 protected:
  using Numbers = Placed<typename Case::Number>;

  // Segments are the host's business, and the same for every dtype.
  static const std::vector<std::int64_t>& sizes() {
    return std::is_same_v<Case, At<float, OnHost>> ? shard_sizes() : smaller_shard_sizes();
  }
  Numbers placed(const std::vector<typename Case::Number>& values) const { return {values, Case::Place::kDevice}; }
  Numbers unwritten(std::int64_t count) const {
    return headroom::unwritten<typename Case::Number>(count, Case::Place::kDevice);
  }
};

using Cases = testing::Types<At<float, OnHost>, At<double, OnHost>, At<bf16, OnHost>, At<std::int32_t, OnHost>,
                             At<std::int64_t, OnHost>, At<float, Staged>, At<bf16, Staged>, At<std::int64_t, Staged>,
                             At<float, OverNccl>, At<bf16, OverNccl>, At<std::int64_t, OverNccl>>;

struct CaseNames {
  template <class Case>
  static std::string GetName(int) {  // NOLINT(readability-identifier-naming): GoogleTest's name
    return fmt::format("{}_{}", name_of(dtype_of<typename Case::Number>()), Case::Place::kName);
  }
};

TYPED_TEST_SUITE(Collectives, Cases, CaseNames);

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
  using T = typename TypeParam::Number;
  for (const std::int64_t n : this->sizes()) {
    const auto shard = this->placed(numbers<T>(this->rank_, 0, n));
    const auto whole = this->unwritten(n * this->size_);
    this->world_->all_gather(shard.tensor(), whole.tensor());
    EXPECT_TRUE(same_bits(whole.values(), gathered<T>(this->size_, n))) << "shards of " << n;
    EXPECT_TRUE(same_bits(shard.values(), numbers<T>(this->rank_, 0, n))) << "the input changed";
  }
}

TYPED_TEST(Collectives, AllGatherWorksInPlace) {
  using T = typename TypeParam::Number;
  for (const std::int64_t n : this->sizes()) {
    std::vector<T> own_only(static_cast<std::size_t>(n * this->size_), T(-1.0F));
    const auto own = numbers<T>(this->rank_, 0, n);
    std::copy(own.begin(), own.end(), own_only.begin() + this->rank_ * n);
    const auto whole = this->placed(own_only);
    this->world_->all_gather(whole.tensor().flat_range(this->rank_ * n, n), whole.tensor());
    EXPECT_TRUE(same_bits(whole.values(), gathered<T>(this->size_, n))) << "shards of " << n;
  }
}

TYPED_TEST(Collectives, ReduceScatterSums) {
  using T = typename TypeParam::Number;
  for (const std::int64_t n : this->sizes()) {
    const auto whole = this->placed(numbers<T>(this->rank_, 0, n * this->size_));
    const auto shard = this->unwritten(n);
    this->world_->reduce_scatter(whole.tensor(), shard.tensor());
    const auto expected = reduced_numbers<T>(this->size_, this->rank_ * n, n, Reduction::sum);
    EXPECT_TRUE(is_sum<typename TypeParam::Place>(shard.values(), expected, this->size_)) << "shards of " << n;
    EXPECT_TRUE(same_bits(whole.values(), numbers<T>(this->rank_, 0, n * this->size_))) << "the input changed";
  }
}

TYPED_TEST(Collectives, ReduceScatterWorksInPlace) {
  using T = typename TypeParam::Number;
  for (const std::int64_t n : this->sizes()) {
    const auto before = numbers<T>(this->rank_, 0, n * this->size_);
    auto expected = before;  // but for the own place
    const auto sum = reduced_numbers<T>(this->size_, this->rank_ * n, n, Reduction::sum);
    std::copy(sum.begin(), sum.end(), expected.begin() + this->rank_ * n);
    const auto whole = this->placed(before);
    this->world_->reduce_scatter(whole.tensor(), whole.tensor().flat_range(this->rank_ * n, n));
    EXPECT_TRUE(is_sum<typename TypeParam::Place>(whole.values(), expected, this->size_)) << "shards of " << n;
  }
}

// Sizes that do not divide by the ranks too: through host memory the small ones take another way than the large ones.
TYPED_TEST(Collectives, AllReduceIsTheReductionOnEveryRank) {
  using T = typename TypeParam::Number;
  for (const Reduction reduction : {Reduction::sum, Reduction::max}) {
    for (const std::int64_t n : this->sizes()) {
      for (const std::int64_t elements : {n, n * this->size_ + 1}) {
        const auto values = this->placed(numbers<T>(this->rank_, 0, elements));
        this->world_->all_reduce(values.tensor(), reduction);
        const auto expected = reduced_numbers<T>(this->size_, 0, elements, reduction);
        if (reduction == Reduction::sum) {
          EXPECT_TRUE(is_sum<typename TypeParam::Place>(values.values(), expected, this->size_)) << elements;
        } else {
          EXPECT_TRUE(same_bits(values.values(), expected)) << "maxima of " << elements;
        }
      }
    }
  }
}

// Against sums in double: what a sum may lose is one rounding of its dtype, and none of bf16's on the way.
TYPED_TEST(Collectives, SumsAreAsGoodAsTheDtype) {
  using T = typename TypeParam::Number;
  if (!TypeParam::Place::kRankOrder) GTEST_SKIP() << "NCCL rounds at every step";
  if constexpr (!std::is_integral_v<T>) {
    const std::int64_t n = 10007;
    const auto values = this->placed(numbers<T>(this->rank_, 0, n));
    this->world_->all_reduce(values.tensor(), Reduction::sum);
    const std::vector<T> sums = values.values();
    for (std::int64_t i = 0; i < n; ++i) {
      double exact = 0.0;
      for (int rank = 0; rank < this->size_; ++rank) exact += static_cast<double>(number<T>(rank, i));
      const double steps = this->size_ * kLargestNumber * unit_roundoff<Accumulator<T>>() * this->size_;
      EXPECT_NEAR(static_cast<double>(sums[static_cast<std::size_t>(i)]), exact,
                  std::abs(exact) * unit_roundoff<T>() + steps);
    }
  }
}

TYPED_TEST(Collectives, AMaximumOverANaNIsNaN) {
  using T = typename TypeParam::Number;
  if (!TypeParam::Place::kRankOrder) GTEST_SKIP() << "not promised of NCCL";
  if constexpr (!std::is_integral_v<T>) {
    for (int culprit = 0; culprit < this->size_; ++culprit) {
      const float own = this->rank_ == culprit ? std::numeric_limits<float>::quiet_NaN() : 1.0F;
      const auto values = this->placed({T(own), T(2.0F)});
      this->world_->all_reduce(values.tensor(), Reduction::max);
      EXPECT_TRUE(std::isnan(static_cast<double>(values.values()[0]))) << "of rank " << culprit;
      EXPECT_EQ(static_cast<double>(values.values()[1]), 2.0);
    }
  }
}

TYPED_TEST(Collectives, RepetitionGivesTheSameBits) {
  using T = typename TypeParam::Number;
  const std::int64_t n = 30011;
  std::vector<T> first;
  for (int repeat = 0; repeat < 20; ++repeat) {
    const auto whole = this->placed(numbers<T>(this->rank_, 0, n * this->size_));
    const auto shard = this->unwritten(n);
    this->world_->reduce_scatter(whole.tensor(), shard.tensor());
    if (repeat == 0) first = shard.values();
    EXPECT_TRUE(same_bits(shard.values(), first)) << "repetition " << repeat;
  }
}

// A communicator for a GPU passes on what is in host memory.
TYPED_TEST(Collectives, HostTensorsAreServedEverywhere) {
  using T = typename TypeParam::Number;
  auto values = numbers<T>(this->rank_, 0, 1001);
  this->world_->all_reduce(tensor_of(values), Reduction::sum);
  EXPECT_TRUE(same_bits(values, reduced_numbers<T>(this->size_, 0, 1001, Reduction::sum)));
  auto whole = numbers<T>(this->rank_, 0, 7 * this->size_);
  const Tensor tensor = tensor_of(whole);
  this->world_->reduce_scatter(tensor, tensor.flat_range(7 * this->rank_, 7));
  this->world_->all_gather(tensor.flat_range(7 * this->rank_, 7), tensor);
  EXPECT_TRUE(same_bits(whole, reduced_numbers<T>(this->size_, 0, 7 * this->size_, Reduction::sum)));
}

TYPED_TEST(Collectives, RefuseShardsThatDoNotFit) {
  using T = typename TypeParam::Number;
  const std::int64_t n = this->size_;
  const auto whole = this->unwritten(4 * n + 1);
  const auto other = headroom::unwritten<std::conditional_t<std::is_same_v<T, float>, std::int32_t, float>>(
      4, TypeParam::Place::kDevice);
  const Tensor tensor = whole.tensor();
  const Tensor even = tensor.flat_range(0, 4 * n);
  EXPECT_THROW(this->world_->all_gather(other.tensor(), even), Error) << "another dtype";
  EXPECT_THROW(this->world_->reduce_scatter(tensor, tensor.flat_range(4 * this->rank_, 4)), Error) << "no multiple";
  EXPECT_THROW(this->world_->reduce_scatter(even, tensor.flat_range(4 * this->rank_ + 1, 4)), Error)
      << "a wrong overlap";
  if (TypeParam::Place::kDevice != Device::cpu) {
    std::vector<T> host(4);
    EXPECT_THROW(this->world_->all_gather(tensor_of(host), even), Error) << "on two devices";
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

TEST(HostCommunicator, RefusesTensorsOfAGpu) {
  const auto world = test_runtime().world();
  if (world->size() == 1) GTEST_SKIP() << "a rank alone has nothing to exchange";
  std::vector<float> values(4);
  const Tensor elsewhere(values.data(), {4}, DType::f32, Device::cuda);
  EXPECT_THROW(world->all_reduce(elsewhere, Reduction::sum), Error);
  EXPECT_THROW(world->reduce_scatter(elsewhere.flat_range(0, world->size()), elsewhere.flat_range(world->rank(), 1)),
               Error);
}

}  // namespace
}  // namespace headroom
