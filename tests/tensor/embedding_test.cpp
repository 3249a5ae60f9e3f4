// Token and position vectors and the learned scalar: looked up, scattered back, and cut over ranks.
#include "tests/tensor/reference.h"

namespace headroom {
namespace {

using reference::dot;
using reference::expect_close;
using reference::expect_gradient;
using reference::HostTensor;
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

struct Lookup {
  std::int64_t tokens;
  std::int64_t vocabulary;
  std::int64_t columns;
};
constexpr Lookup kLookups[] = {{1, 1, 1}, {5, 3, 2}, {67, 31, 13}, {64, 64, 64}, {1021, 131, 97}, {2048, 16, 32}};

class Embedding : public reference::OverDtypes {};
HEADROOM_OVER_DTYPES(Embedding);

TEST_P(Embedding, CopiesTheRowOfEveryToken) {
  for (const auto& [tokens, vocabulary, columns] : kLookups) {
    const auto ids = skewed_ids(tokens, vocabulary);
    const auto table = random({vocabulary, columns}, "table");
    const auto y = random({tokens, columns}, "overwritten");
    ops::embedding(ids, table, 0, y);
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
    const auto dtable = random({vocabulary, columns}, "dtable before");
    auto expected = dtable.values();
    for (std::int64_t r = 0; r < tokens; ++r) {
      for (std::int64_t c = 0; c < columns; ++c) {
        expected[static_cast<std::size_t>(ids[static_cast<std::size_t>(r)] * columns + c)] += dy.at(r * columns + c);
      }
    }
    ops::embedding_backward(ids, dy, 0, dtable);
    expect_close(dtable, expected, tolerance(dtype()), "dtable");
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
  const auto dtable = zeros({kVocabulary, kColumns});
  ops::embedding(ids, table, 0, y);
  ops::embedding_backward(ids, dy, 0, dtable);

  const auto low = random({kTokens, kColumns}, "overwritten");
  const auto high = random({kTokens, kColumns}, "overwritten");
  ops::embedding(ids, table.tensor().row_range(0, kCut), 0, low);
  ops::embedding(ids, table.tensor().row_range(kCut, kVocabulary - kCut), kCut, high);
  for (std::int64_t i = 0; i < y.elements(); ++i) {
    const bool in_low = ids[static_cast<std::size_t>(i / kColumns)] < kCut;
    ASSERT_EQ(low.at(i), in_low ? y.at(i) : 0.0);
    ASSERT_EQ(high.at(i), in_low ? 0.0 : y.at(i));
  }

  const auto sharded = zeros({kVocabulary, kColumns});
  ops::embedding_backward(ids, dy, 0, sharded.tensor().row_range(0, kCut));
  ops::embedding_backward(ids, dy, kCut, sharded.tensor().row_range(kCut, kVocabulary - kCut));
  EXPECT_EQ(sharded.values(), dtable.values());
}

TEST_P(Embedding, PositionsWrapAtTheSequenceLength) {
  constexpr std::int64_t kSeq = 17;
  constexpr std::int64_t kColumns = 41;
  for (const std::int64_t first : {0, 5, 17, 40}) {
    for (const std::int64_t rows : {1, 16, 17, 3 * 17, 1000}) {
      const auto table = random({kSeq + 2, kColumns}, "table");  // longer than the sequence
      const auto x = random({rows, kColumns}, "x");
      const auto dtable = random({kSeq + 2, kColumns}, "dtable before");
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
      expect_close(x, expected, tolerance(dtype()), "x");
      expect_close(dtable, expected_dtable, tolerance(dtype()), "dtable");
    }
  }
}

TEST_P(Embedding, ScaleByMultipliesAndItsBackwardSums) {
  for (const Shape& shape : {Shape{1, 1}, Shape{7, 13}, Shape{64, 64}, Shape{1031, 257}}) {
    const auto x = random(shape, "x");
    const auto dy = random(shape, "dy");
    const auto s = HostTensor::filled({1}, dtype(), 19.6);
    const auto y = random(shape, "overwritten");
    const auto ds = random({1}, "ds before");
    auto expected_y = x.values();
    auto expected_dx = dy.values();
    for (double& value : expected_y) value *= s.at(0);
    for (double& value : expected_dx) value *= s.at(0);
    double magnitude = 0.0;
    for (std::int64_t i = 0; i < x.elements(); ++i) magnitude += std::abs(x.at(i) * dy.at(i));
    const double expected_ds = ds.at(0) + dot(dy, x);
    ops::scale_by(x, s, y);
    expect_close(y, expected_y, tolerance(dtype()), "y");
    const auto dx = dy.clone();
    ops::scale_by_backward(dx, x, s, dx, ds);  // in place
    expect_close(dx, expected_dx, tolerance(dtype()), "dx");
    EXPECT_NEAR(ds.at(0), expected_ds, (dtype() == DType::f32 ? 1e-6 : 1e-14) * (magnitude + 1.0));
  }
}

TEST(EmbeddingGradients, AgreeWithFiniteDifferences) {
  const std::vector<std::int32_t> ids = {2, 0, 2, 4, 1, 2};
  const auto dy = HostTensor::random({6, 3}, DType::f64, "dy");
  const HostTensor y({6, 3}, DType::f64);
  {
    auto table = HostTensor::random({5, 3}, DType::f64, "table");
    const HostTensor dtable({5, 3}, DType::f64);
    ops::embedding_backward(ids, dy, 0, dtable);
    const auto loss = [&] {
      ops::embedding(ids, table, 0, y);
      return dot(y, dy);
    };
    expect_gradient(loss, table, dtable, "token table");
  }
  {
    auto table = HostTensor::random({4, 3}, DType::f64, "table");
    const HostTensor dtable({4, 3}, DType::f64);
    ops::add_positions_backward(dy, 3, 4, dtable);
    const auto loss = [&] {
      ops::zero(y);
      ops::add_positions(table, 3, 4, y);
      return dot(y, dy);
    };
    expect_gradient(loss, table, dtable, "position table");
  }
  {
    auto x = HostTensor::random({6, 3}, DType::f64, "x");
    auto s = HostTensor::filled({1}, DType::f64, 1.7);
    const HostTensor dx({6, 3}, DType::f64);
    const HostTensor ds({1}, DType::f64);
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
