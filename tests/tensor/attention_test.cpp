// Causal attention, its backward and its probabilities against the definition and against finite differences.
#include <limits>
#include <tuple>

#include "tests/tensor/attention_reference.h"

namespace headroom {
namespace {

using reference::expect_close;
using reference::expect_gradient;
using reference::Place;
using reference::TestTensor;

Shape qkv_shape(const AttentionShape& shape) {
  return {shape.rows(), shape.qkv_width()};
}
Shape out_shape(const AttentionShape& shape) {
  return {shape.rows(), shape.query_width()};
}
Shape lse_shape(const AttentionShape& shape) {
  return {shape.batch, shape.n_heads, shape.seq};
}

class Attention : public ::testing::TestWithParam<std::tuple<Place, AttentionShape>> {
 protected:
  void SetUp() override { HEADROOM_NEEDS(place()); }

  Place place() const { return std::get<0>(GetParam()); }
  TestTensor wide_zeros(const Shape& shape) const { return {shape, place().wide(), place().device}; }
  AttentionShape shape() const { return std::get<1>(GetParam()); }
};

TEST_P(Attention, ForwardIsTheSoftmaxOfCausalScores) {
  const auto qkv = TestTensor::random(qkv_shape(shape()), place(), "qkv");
  const TestTensor out(out_shape(shape()), place());
  const auto lse = wide_zeros(lse_shape(shape()));
  ops::attention(qkv, shape(), out, lse);
  const auto expected = reference::attention(qkv.values(), shape());
  expect_close(out, expected.out, "out");
  expect_close(lse, expected.lse, "lse");
}

TEST_P(Attention, BackwardIsTheChainRuleAndOverwrites) {
  const auto qkv = TestTensor::random(qkv_shape(shape()), place(), "qkv");
  const auto dout = TestTensor::random(out_shape(shape()), place(), "dout");
  const TestTensor out(out_shape(shape()), place());
  const auto lse = wide_zeros(lse_shape(shape()));
  const auto dqkv = TestTensor::filled(qkv_shape(shape()), place(), std::numeric_limits<double>::quiet_NaN());
  ops::attention(qkv, shape(), out, lse);
  ops::attention_backward(dout, qkv, out, lse, shape(), dqkv);
  const auto rounded = out.values();
  const auto expected = reference::attention_backward(dout.values(), qkv.values(), shape(), nullptr, nullptr,
                                                      place().dtype == DType::bf16 ? &rounded : nullptr);
  expect_close(dqkv, expected.dqkv, "dqkv");
}

// Of shapes that have no backward.
class AttentionForward : public Attention {};

TEST_P(AttentionForward, IsTheSoftmaxOfWhatAQuerySees) {
  const auto qkv = TestTensor::random(qkv_shape(shape()), place(), "qkv");
  const TestTensor out(out_shape(shape()), place());
  const auto lse = wide_zeros(lse_shape(shape()));
  ops::attention(qkv, shape(), out, lse);
  const auto expected = reference::attention(qkv.values(), shape());
  expect_close(out, expected.out, "out");
  expect_close(lse, expected.lse, "lse");
  EXPECT_THROW(ops::attention_backward(out, qkv, out, lse, shape(), qkv), Error);
}

class AttentionProbabilities : public Attention {};

TEST_P(AttentionProbabilities, AreThoseOfOneHead) {
  const auto qkv = TestTensor::random(qkv_shape(shape()), place(), "qkv");
  const TestTensor out(out_shape(shape()), place());
  const auto lse = wide_zeros(lse_shape(shape()));
  ops::attention(qkv, shape(), out, lse);
  const std::int64_t sequence = shape().batch - 1;
  const std::int64_t head = shape().n_heads - 1;
  const auto probs = wide_zeros({shape().seq, shape().seq});
  ops::attention_probabilities(qkv, lse, shape(), sequence, head, probs);

  std::vector<double> expected;
  for (std::int64_t t = 0; t < shape().seq; ++t) {
    const auto row = reference::softmax_of_query(qkv.values(), shape(), sequence, head, t).probs;
    expected.insert(expected.end(), row.begin(), row.end());
    expected.resize(static_cast<std::size_t>((t + 1) * shape().seq), 0.0);
  }
  expect_close(probs, expected, "probs");
}

std::string case_name(const ::testing::TestParamInfo<std::tuple<Place, AttentionShape>>& info) {
  return std::get<0>(info.param).name() + "_" + reference::name_of(std::get<1>(info.param));
}

INSTANTIATE_TEST_SUITE_P(EveryShape, Attention,
                         ::testing::Combine(::testing::ValuesIn(reference::kPlaces),
                                            ::testing::ValuesIn(reference::kAttentionShapes)),
                         case_name);
INSTANTIATE_TEST_SUITE_P(WindowsCapsAndScales, AttentionForward,
                         ::testing::Combine(::testing::Values(reference::kCpuF32, reference::kCpuF64),
                                            ::testing::ValuesIn(reference::kForeignAttentionShapes)),
                         case_name);
INSTANTIATE_TEST_SUITE_P(LongSequences, Attention,
                         ::testing::Combine(::testing::Values(reference::kCpuF32, reference::kCpuF64),
                                            ::testing::ValuesIn(reference::kLongAttentionShapes)),
                         case_name);
INSTANTIATE_TEST_SUITE_P(WindowsCapsAndScales, AttentionProbabilities,
                         ::testing::Combine(::testing::Values(reference::kCpuF32, reference::kCpuF64),
                                            ::testing::ValuesIn(reference::kForeignAttentionShapes)),
                         case_name);
INSTANTIATE_TEST_SUITE_P(EveryShape, AttentionProbabilities,
                         ::testing::Combine(::testing::ValuesIn(reference::kPlaces),
                                            ::testing::ValuesIn(reference::kAttentionShapes)),
                         case_name);

TEST(AttentionGradient, MatchesFiniteDifferences) {
  for (const AttentionShape& shape : {AttentionShape{2, 5, 2, 1, 3}, AttentionShape{1, 19, 3, 3, 4}}) {
    auto qkv = TestTensor::random(qkv_shape(shape), DType::f64, "qkv");
    const auto dout = TestTensor::random(out_shape(shape), DType::f64, "dout");
    const TestTensor out(out_shape(shape), DType::f64);
    const TestTensor lse(lse_shape(shape), DType::f64);
    const TestTensor dqkv(qkv_shape(shape), DType::f64);
    const auto loss = [&] {
      ops::attention(qkv, shape, out, lse);
      return reference::dot(dout, out);
    };
    loss();
    ops::attention_backward(dout, qkv, out, lse, shape, dqkv);
    expect_gradient(loss, qkv, dqkv, "dqkv");
  }
}

// Scores of a thousand overflow e^s in either format; the softmax must not. Rounding a score of that size costs 1e-4
// in f32, and the exponential turns it into as much of a relative error.
TEST(AttentionRange, SurvivesLargeScores) {
  const AttentionShape shape{1, 33, 2, 2, 8};
  for (const auto& [dtype, relative] : {std::pair{DType::f32, 2e-3}, std::pair{DType::f64, 1e-10}}) {
    const auto qkv = TestTensor::random(qkv_shape(shape), dtype, "qkv", 30.0);
    const auto dout = TestTensor::random(out_shape(shape), dtype, "dout");
    const TestTensor out(out_shape(shape), dtype);
    const TestTensor lse(lse_shape(shape), dtype);
    const TestTensor dqkv(qkv_shape(shape), dtype);
    ops::attention(qkv, shape, out, lse);
    ops::attention_backward(dout, qkv, out, lse, shape, dqkv);
    const auto expected = reference::attention(qkv.values(), shape);
    EXPECT_GT(*std::max_element(expected.lse.begin(), expected.lse.end()), 1000.0);
    expect_close(out, expected.out, relative, "out");
    expect_close(lse, expected.lse, relative, "lse");
    const auto gradients = reference::attention_backward(dout.values(), qkv.values(), shape);
    expect_close(dqkv, gradients.dqkv, relative, "dqkv");
  }
}

TEST(AttentionDeterminism, SameInputsSameBits) {
  const AttentionShape shape{3, 97, 4, 2, 16};
  const auto qkv = TestTensor::random(qkv_shape(shape), DType::f32, "qkv");
  const auto dout = TestTensor::random(out_shape(shape), DType::f32, "dout");
  std::vector<double> first;
  for (int round = 0; round < 3; ++round) {
    const TestTensor out(out_shape(shape), DType::f32);
    const TestTensor lse(lse_shape(shape), DType::f32);
    const TestTensor dqkv(qkv_shape(shape), DType::f32);
    ops::attention(qkv, shape, out, lse);
    ops::attention_backward(dout, qkv, out, lse, shape, dqkv);
    if (round == 0) first = dqkv.values();
    EXPECT_EQ(dqkv.values(), first);
  }
}

TEST(AttentionShapes, RefusesHeadsThatDoNotDivide) {
  const AttentionShape shape{1, 4, 3, 2, 4};
  const TestTensor qkv(qkv_shape(shape), DType::f32);
  EXPECT_THROW(
      ops::attention(qkv, shape, TestTensor(out_shape(shape), DType::f32), TestTensor(lse_shape(shape), DType::f32)),
      Error);
}

}  // namespace
}  // namespace headroom
