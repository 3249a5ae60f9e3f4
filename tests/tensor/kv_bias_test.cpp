// The key-value bias rides on plain attention's results; the truth is the concatenated form, softmax over [K; k'] with
// the values [V; v'].
#include <optional>
#include <tuple>

#include "tests/tensor/attention_reference.h"

namespace headroom {
namespace {

using reference::expect_close;
using reference::expect_gradient;
using reference::HostTensor;
using reference::tolerance;

enum class Slot { key_and_value, key_only };

// One attention with a bias slot: forward and backward as a model calls them.
struct Layer {
  Layer(const AttentionShape& of, DType dtype, Slot kind, double deviation = 1.0)
      : shape(of),
        qkv(HostTensor::random({of.rows(), of.qkv_width()}, dtype, "qkv", deviation)),
        key(HostTensor::random({of.n_kv_heads, of.head_dim}, dtype, "key", deviation)),
        dout(HostTensor::random({of.rows(), of.query_width()}, dtype, "dout")),
        out({of.rows(), of.query_width()}, dtype),
        lse({of.batch, of.n_heads, of.seq}, dtype),
        mass({of.batch, of.n_heads, of.seq}, dtype),
        dqkv({of.rows(), of.qkv_width()}, dtype),
        dkey({of.n_kv_heads, of.head_dim}, dtype) {
    if (kind == Slot::key_and_value) {
      value = HostTensor::random({of.n_kv_heads, of.head_dim}, dtype, "value");
      dvalue = HostTensor({of.n_kv_heads, of.head_dim}, dtype);
    }
  }

  double forward() {
    ops::attention(qkv, shape, out, lse);
    ops::kv_bias(qkv, key, value ? value->tensor() : Tensor(), shape, out, lse, mass);
    return reference::dot(dout, out);
  }

  void backward() {
    ops::attention_backward(dout, qkv, out, lse, shape, dqkv);
    ops::kv_bias_backward(dout, qkv, out, mass, key, value ? value->tensor() : Tensor(), shape, dqkv, dkey,
                          dvalue ? dvalue->tensor() : Tensor());
  }

  AttentionShape shape;
  HostTensor qkv, key, dout, out, lse, mass, dqkv, dkey;
  std::optional<HostTensor> value, dvalue;
};

class KvBias : public ::testing::TestWithParam<std::tuple<DType, AttentionShape, Slot>> {};

TEST_P(KvBias, IsAttentionOverTheConcatenation) {
  const auto [dtype, shape, kind] = GetParam();
  Layer layer(shape, dtype, kind);
  layer.forward();
  layer.backward();

  const auto key = layer.key.values();
  const auto value = layer.value ? layer.value->values() : std::vector<double>();
  const auto* given_value = layer.value ? &value : nullptr;
  const auto expected = reference::attention(layer.qkv.values(), shape, &key, given_value);
  expect_close(layer.out, expected.out, tolerance(dtype), "out");
  expect_close(layer.lse, expected.lse, tolerance(dtype), "lse");
  expect_close(layer.mass, expected.mass, tolerance(dtype), "mass");

  const auto gradients =
      reference::attention_backward(layer.dout.values(), layer.qkv.values(), shape, &key, given_value);
  expect_close(layer.dqkv, gradients.dqkv, tolerance(dtype), "dqkv");
  expect_close(layer.dkey, gradients.dkey, tolerance(dtype), "dkey");
  if (layer.dvalue) expect_close(*layer.dvalue, gradients.dvalue, tolerance(dtype), "dvalue");
}

constexpr DType kDtypes[] = {DType::f32, DType::f64};
INSTANTIATE_TEST_SUITE_P(EveryShape, KvBias,
                         ::testing::Combine(::testing::ValuesIn(kDtypes),
                                            ::testing::ValuesIn(reference::kAttentionShapes),
                                            ::testing::Values(Slot::key_and_value, Slot::key_only)));
INSTANTIATE_TEST_SUITE_P(LongSequences, KvBias,
                         ::testing::Combine(::testing::ValuesIn(kDtypes),
                                            ::testing::ValuesIn(reference::kLongAttentionShapes),
                                            ::testing::Values(Slot::key_and_value)));

TEST(KvBiasGradient, MatchesFiniteDifferences) {
  for (const Slot kind : {Slot::key_and_value, Slot::key_only}) {
    Layer layer({2, 11, 4, 2, 3}, DType::f64, kind);
    layer.forward();
    layer.backward();
    const auto loss = [&] { return layer.forward(); };
    expect_gradient(loss, layer.qkv, layer.dqkv, "dqkv");
    expect_gradient(loss, layer.key, layer.dkey, "dkey");
    if (layer.value) expect_gradient(loss, *layer.value, *layer.dvalue, "dvalue");
  }
}

TEST(KvBiasGradient, AccumulatesInTheParameters) {
  Layer layer({1, 7, 2, 2, 4}, DType::f64, Slot::key_and_value);
  layer.forward();
  layer.backward();
  auto twice = layer.dkey.values();
  for (double& value : twice) value *= 2.0;
  layer.backward();
  expect_close(layer.dkey, twice, 1e-12, "dkey after two backwards");
}

// A slot that takes nearly everything, or nearly nothing, must not overflow.
TEST(KvBiasRange, SurvivesLargeScores) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    Layer layer({1, 17, 2, 1, 8}, dtype, Slot::key_and_value, 30.0);
    layer.forward();
    layer.backward();
    const auto key = layer.key.values();
    const auto value = layer.value->values();
    const double relative = dtype == DType::f32 ? 2e-3 : 1e-10;
    expect_close(layer.out, reference::attention(layer.qkv.values(), layer.shape, &key, &value).out, relative, "out");
    const auto gradients =
        reference::attention_backward(layer.dout.values(), layer.qkv.values(), layer.shape, &key, &value);
    expect_close(layer.dqkv, gradients.dqkv, relative, "dqkv");
  }
}

TEST(KvBiasArguments, RefusesAGradientWithoutItsValue) {
  Layer layer({1, 3, 1, 1, 2}, DType::f32, Slot::key_and_value);
  layer.forward();
  EXPECT_THROW(ops::kv_bias_backward(layer.dout, layer.qkv, layer.out, layer.mass, layer.key, Tensor(), layer.shape,
                                     layer.dqkv, layer.dkey, *layer.dvalue),
               Error);
}

}  // namespace
}  // namespace headroom
