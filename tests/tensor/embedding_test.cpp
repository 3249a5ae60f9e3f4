// Token and position vectors and the learned scalar: looked up, scattered back, and cut over ranks.
#include <map>
#include <numeric>

#include "tests/tensor/reference.h"

namespace headroom {
namespace {

using reference::dot;
using reference::expect_close;
using reference::expect_gradient;
using reference::TestTensor;
using reference::tolerance;

// Ids in [0, vocabulary), most of them small: frequent tokens meet often, as in text.
std::vector<std::int32_t> skewed_ids(std::int64_t count, std::int64_t vocabulary) {
  const RandomStream stream(7, "ids");
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < count; ++i) {
    const double share = std::pow(stream.uniform(static_cast<std::uint64_t>(i)), 3.0);
    ids.push_back(static_cast<std::int32_t>(share * static_cast<double>(vocabulary)));
  }
  return ids;
}

// Ids on a device, and their rows by id.
struct Tokens {
  Tokens(const std::vector<std::int32_t>& values, const reference::Place& place)
      : ids(TestTensor::integers(values, place)),
        rows(TestTensor::integers(rows_by_id(values), place)),
        starts(TestTensor::integers(starts_of_groups(values), place)) {}

  static std::vector<std::int32_t> rows_by_id(const std::vector<std::int32_t>& values) {
    std::vector<std::int32_t> order(values.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
      return values[static_cast<std::size_t>(a)] < values[static_cast<std::size_t>(b)];
    });
    return order;
  }
  static std::vector<std::int32_t> starts_of_groups(const std::vector<std::int32_t>& values) {
    std::map<std::int32_t, std::int32_t> counts;
    for (const std::int32_t id : values) ++counts[id];
    std::vector<std::int32_t> starts = {0};
    for (const auto& [id, count] : counts) starts.push_back(starts.back() + count);
    return starts;
  }
  TokenGroups groups() const { return {rows, starts}; }

  TestTensor ids, rows, starts;
};

struct Lookup {
  std::int64_t tokens;
  std::int64_t vocabulary;
  std::int64_t columns;
};
constexpr Lookup kLookups[] = {{1, 1, 1}, {5, 3, 2}, {67, 31, 13}, {64, 64, 64}, {1021, 131, 97}, {2048, 16, 32}};

class Embedding : public reference::OverPlaces {
 protected:
  Tokens tokens_of(const std::vector<std::int32_t>& ids) const { return {ids, place()}; }
};
HEADROOM_OVER_PLACES(Embedding);

TEST_P(Embedding, CopiesTheRowOfEveryToken) {
  for (const auto& [tokens, vocabulary, columns] : kLookups) {
    const auto ids = skewed_ids(tokens, vocabulary);
    const auto table = random({vocabulary, columns}, "table");
    const auto y = random({tokens, columns}, "overwritten");
    ops::embedding(tokens_of(ids).ids, table, 0, y);
    for (std::int64_t r = 0; r < tokens; ++r) {
      for (std::int64_t c = 0; c < columns; ++c) {
        ASSERT_EQ(y.at(r * columns + c), table.at(ids[static_cast<std::size_t>(r)] * columns + c));
      }
    }
  }
}

TEST_P(Embedding, BackwardSumsOverAllPlacesOfAToken) {
  for (const auto& [tokens, vocabulary, columns] : kLookups) {
    const auto ids = skewed_ids(tokens, vocabulary);
    const auto dy = random({tokens, columns}, "dy");
    const auto dtable = wide_random({vocabulary, columns}, "dtable before");
    auto expected = dtable.values();
    for (std::int64_t r = 0; r < tokens; ++r) {
      for (std::int64_t c = 0; c < columns; ++c) {
        expected[static_cast<std::size_t>(ids[static_cast<std::size_t>(r)] * columns + c)] += dy.at(r * columns + c);
      }
    }
    ops::embedding_backward(tokens_of(ids).ids, tokens_of(ids).groups(), dy, 0, dtable);
    expect_close(dtable, expected, "dtable");
  }
}

TEST_P(Embedding, ShardsOfTheTableTogetherAreTheTable) {
  constexpr std::int64_t kTokens = 67;
  constexpr std::int64_t kVocabulary = 31;
  constexpr std::int64_t kColumns = 13;
  constexpr std::int64_t kCut = 11;
  const auto ids = skewed_ids(kTokens, kVocabulary);
  const auto table = random({kVocabulary, kColumns}, "table");
  const auto dy = random({kTokens, kColumns}, "dy");
  const auto y = zeros({kTokens, kColumns});
  const auto dtable = wide_zeros({kVocabulary, kColumns});
  ops::embedding(tokens_of(ids).ids, table, 0, y);
  ops::embedding_backward(tokens_of(ids).ids, tokens_of(ids).groups(), dy, 0, dtable);

  const auto low = random({kTokens, kColumns}, "overwritten");
  const auto high = random({kTokens, kColumns}, "overwritten");
  ops::embedding(tokens_of(ids).ids, table.tensor().row_range(0, kCut), 0, low);
  ops::embedding(tokens_of(ids).ids, table.tensor().row_range(kCut, kVocabulary - kCut), kCut, high);
  for (std::int64_t i = 0; i < y.elements(); ++i) {
    const bool in_low = ids[static_cast<std::size_t>(i / kColumns)] < kCut;
    ASSERT_EQ(low.at(i), in_low ? y.at(i) : 0.0);
    ASSERT_EQ(high.at(i), in_low ? 0.0 : y.at(i));
  }

  const auto sharded = wide_zeros({kVocabulary, kColumns});
  ops::embedding_backward(tokens_of(ids).ids, tokens_of(ids).groups(), dy, 0, sharded.tensor().row_range(0, kCut));
  ops::embedding_backward(tokens_of(ids).ids, tokens_of(ids).groups(), dy, kCut,
                          sharded.tensor().row_range(kCut, kVocabulary - kCut));
  EXPECT_EQ(sharded.values(), dtable.values());
}

TEST_P(Embedding, PositionsWrapAtTheSequenceLength) {
  constexpr std::int64_t kSeq = 17;
  constexpr std::int64_t kColumns = 41;
  for (const std::int64_t first : {0, 5, 17, 40}) {
    for (const std::int64_t rows : {1, 16, 17, 3 * 17, 1000}) {
      const auto table = random({kSeq + 2, kColumns}, "table");  // longer than the sequence
      const auto x = random({rows, kColumns}, "x");
      const auto dtable = wide_random({kSeq + 2, kColumns}, "dtable before");
      auto expected = x.values();
      auto expected_dtable = dtable.values();
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t c = 0; c < kColumns; ++c) {
          const std::int64_t at = (first + r) % kSeq * kColumns + c;
          expected_dtable[static_cast<std::size_t>(at)] += x.at(r * kColumns + c);
          expected[static_cast<std::size_t>(r * kColumns + c)] += table.at(at);
        }
      }
      ops::add_positions_backward(x, first, kSeq, dtable);  // x stands for the gradient here
      ops::add_positions(table, first, kSeq, x);
      expect_close(x, expected, "x");
      expect_close(dtable, expected_dtable, "dtable");
    }
  }
}

TEST_P(Embedding, ScaleByMultipliesAndItsBackwardSums) {
  for (const Shape& shape : {Shape{1, 1}, Shape{7, 13}, Shape{64, 64}, Shape{1031, 257}}) {
    const auto x = random(shape, "x");
    const auto dy = random(shape, "dy");
    const auto s = TestTensor::filled({1}, place(), 19.6);
    const auto y = random(shape, "overwritten");
    const auto ds = wide_random({1}, "ds before");
    auto expected_y = x.values();
    auto expected_dx = dy.values();
    for (double& value : expected_y) value *= s.at(0);
    for (double& value : expected_dx) value *= s.at(0);
    double magnitude = 0.0;
    for (std::int64_t i = 0; i < x.elements(); ++i) magnitude += std::abs(x.at(i) * dy.at(i));
    const double expected_ds = ds.at(0) + dot(dy, x);
    ops::scale_by(x, s, y);
    expect_close(y, expected_y, "y");
    const auto dx = dy.clone();
    ops::scale_by_backward(dx, x, s, dx, ds);  // in place
    expect_close(dx, expected_dx, "dx");
    EXPECT_NEAR(ds.at(0), expected_ds, relative(1e-6, 1e-14) * (magnitude + 1.0));
  }
}

TEST(EmbeddingGradients, AgreeWithFiniteDifferences) {
  const Tokens tokens({2, 0, 2, 4, 1, 2}, reference::kCpuF64);
  const auto dy = TestTensor::random({6, 3}, DType::f64, "dy");
  const TestTensor y({6, 3}, DType::f64);
  {
    auto table = TestTensor::random({5, 3}, DType::f64, "table");
    const TestTensor dtable({5, 3}, DType::f64);
    ops::embedding_backward(tokens.ids, tokens.groups(), dy, 0, dtable);
    const auto loss = [&] {
      ops::embedding(tokens.ids, table, 0, y);
      return dot(y, dy);
    };
    expect_gradient(loss, table, dtable, "token table");
  }
  {
    auto table = TestTensor::random({4, 3}, DType::f64, "table");
    const TestTensor dtable({4, 3}, DType::f64);
    ops::add_positions_backward(dy, 3, 4, dtable);
    const auto loss = [&] {
      ops::zero(y);
      ops::add_positions(table, 3, 4, y);
      return dot(y, dy);
    };
    expect_gradient(loss, table, dtable, "position table");
  }
  {
    auto x = TestTensor::random({6, 3}, DType::f64, "x");
    auto s = TestTensor::filled({1}, DType::f64, 1.7);
    const TestTensor dx({6, 3}, DType::f64);
    const TestTensor ds({1}, DType::f64);
    ops::scale_by_backward(dy, x, s, dx, ds);
    const auto loss = [&] {
      ops::scale_by(x, s, y);
      return dot(y, dy);
    };
    expect_gradient(loss, x, dx, "scaled x");
    expect_gradient(loss, s, ds, "scalar");
  }
}

}  // namespace
}  // namespace headroom
