// Rotary embedding: pairs (i, i + head_dim/2) turn by the position's angle, values stay, the inverse turns back.
#include "tests/tensor/attention_reference.h"

namespace headroom {
namespace {

using reference::expect_close;
using reference::TestTensor;
using reference::tolerance;

class Rotary : public reference::OverPlaces {
 protected:
  // cos and sin of position * 10000^(-2i/head_dim), for three positions more than needed.
  std::pair<TestTensor, TestTensor> tables(const AttentionShape& shape) const {
    const std::int64_t half = shape.head_dim / 2;
    auto cosines = wide_zeros({shape.seq + 3, half});
    auto sines = wide_zeros({shape.seq + 3, half});
    for (std::int64_t i = 0; i < cosines.elements(); ++i) {
      const double angle = static_cast<double>(i / half) * std::pow(10000.0, -2.0 * static_cast<double>(i % half) /
                                                                                 static_cast<double>(shape.head_dim));
      cosines.set(i, std::cos(angle));
      sines.set(i, std::sin(angle));
    }
    return {std::move(cosines), std::move(sines)};
  }
};
HEADROOM_OVER_PLACES(Rotary);

constexpr AttentionShape kShapes[] = {{1, 1, 1, 1, 2}, {2, 7, 3, 1, 6}, {3, 31, 4, 2, 26}, {1, 64, 2, 2, 64}};

TEST_P(Rotary, TurnsQueriesAndKeys) {
  for (const AttentionShape& shape : kShapes) {
    const auto [cosines, sines] = tables(shape);
    const auto qkv = random({shape.rows(), shape.qkv_width()}, "qkv");
    const auto before = qkv.values();
    auto expected = before;
    const std::int64_t half = shape.head_dim / 2;
    for (std::int64_t row = 0; row < shape.rows(); ++row) {
      for (std::int64_t head = 0; head < shape.n_heads + shape.n_kv_heads; ++head) {
        for (std::int64_t i = 0; i < half; ++i) {
          const std::size_t first = reference::qkv_index(shape, row, 0, head, i);
          const std::size_t second = first + static_cast<std::size_t>(half);
          const double c = cosines.at(row % shape.seq * half + i);
          const double s = sines.at(row % shape.seq * half + i);
          expected[first] = before[first] * c - before[second] * s;
          expected[second] = before[second] * c + before[first] * s;
        }
      }
    }
    ops::rotary(cosines, sines, shape, false, qkv);
    expect_close(qkv, expected, "qkv");
  }
}

TEST_P(Rotary, InverseTurnsBack) {
  for (const AttentionShape& shape : kShapes) {
    const auto [cosines, sines] = tables(shape);
    const auto qkv = random({shape.rows(), shape.qkv_width()}, "qkv");
    const auto before = qkv.values();
    ops::rotary(cosines, sines, shape, false, qkv);
    ops::rotary(cosines, sines, shape, true, qkv);
    expect_close(qkv, before, "qkv");
  }
}

// A rotation is orthogonal: its backward is the inverse, <R x, w> = <x, R^-1 w>.
TEST_P(Rotary, BackwardIsTheInverse) {
  const AttentionShape shape{2, 13, 2, 1, 10};
  const auto [cosines, sines] = tables(shape);
  const auto x = random({shape.rows(), shape.qkv_width()}, "x");
  const auto w = random({shape.rows(), shape.qkv_width()}, "w");
  const auto turned_x = x.clone();
  const auto turned_w = w.clone();
  ops::rotary(cosines, sines, shape, false, turned_x);
  ops::rotary(cosines, sines, shape, true, turned_w);
  EXPECT_NEAR(reference::dot(turned_x, w), reference::dot(x, turned_w), 100.0 * tolerance(dtype()));
}

// A table of fewer angles turns the first dims alone.
TEST(PartialRotary, LeavesTheRestOfAHead) {
  const AttentionShape shape{1, 1, 1, 1, 7};
  std::vector<float> qkv(21, 1.0F);
  std::vector<float> cos = {0.0F, 0.0F};
  std::vector<float> sin = {1.0F, 1.0F};
  ops::rotary(Tensor::over(std::span(cos), {1, 2}), Tensor::over(std::span(sin), {1, 2}), shape, false,
              Tensor::over(std::span(qkv), {1, 21}));
  const std::vector<float> turned = {-1, -1, 1, 1, 1, 1, 1, -1, -1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  EXPECT_EQ(qkv, turned);
}

TEST_P(Rotary, RefusesLongAndShortTables) {
  const AttentionShape odd{1, 2, 1, 1, 3};
  EXPECT_THROW(ops::rotary(wide_zeros({2, 2}), wide_zeros({2, 2}), odd, false, zeros({2, 9})), Error);
  const AttentionShape even{1, 4, 1, 1, 4};
  EXPECT_THROW(ops::rotary(wide_zeros({3, 2}), wide_zeros({3, 2}), even, false, zeros({4, 12})), Error);
}

}  // namespace
}  // namespace headroom
