// The key-value bias rides on plain attention's results; the truth is the concatenated form, softmax over [K; k'] with
// the values [V; v'].
#include <optional>
#include <tuple>

#include "tests/tensor/attention_reference.h"

namespace headroom {
namespace {

using reference::expect_close;
using reference::expect_gradient;
using reference::kCpuF32;
using reference::kCpuF64;
using reference::Place;
using reference::TestTensor;

enum class Slot { key_and_value, key_only };

// One attention with a bias slot: forward and backward as a model calls them.
struct Layer {
  Layer(const AttentionShape& of, const Place& place, Slot kind, double deviation = 1.0)
      : shape(of),
        qkv(TestTensor::random({of.rows(), of.qkv_width()}, place, "qkv", deviation)),
        key(TestTensor::random({of.n_kv_heads, of.head_dim}, place, "key", deviation)),
        dout(TestTensor::random({of.rows(), of.query_width()}, place, "dout")),
        out({of.rows(), of.query_width()}, place),
        lse({of.batch, of.n_heads, of.seq}, place.wide(), place.device),
        mass({of.batch, of.n_heads, of.seq}, place.wide(), place.device),
        dqkv({of.rows(), of.qkv_width()}, place),
        dkey({of.n_kv_heads, of.head_dim}, place.wide(), place.device) {
    if (kind == Slot::key_and_value) {
      value = TestTensor::random({of.n_kv_heads, of.head_dim}, place, "value");
      dvalue = TestTensor({of.n_kv_heads, of.head_dim}, place.wide(), place.device);
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
  TestTensor qkv, key, dout, out, lse, mass, dqkv, dkey;
  std::optional<TestTensor> value, dvalue;
};

class KvBias : public ::testing::TestWithParam<std::tuple<Place, AttentionShape, Slot>> {
 protected:
  void SetUp() override { HEADROOM_NEEDS(std::get<0>(GetParam())); }
};

TEST_P(KvBias, IsAttentionOverTheConcatenation) {
  const auto [place, shape, kind] = GetParam();
  Layer layer(shape, place, kind);
  layer.forward();
  layer.backward();

  const auto key = layer.key.values();
  const auto value = layer.value ? layer.value->values() : std::vector<double>();
  const auto* given_value = layer.value ? &value : nullptr;
  const auto expected = reference::attention(layer.qkv.values(), shape, &key, given_value);
  expect_close(layer.out, expected.out, "out");
  expect_close(layer.lse, expected.lse, "lse");
  expect_close(layer.mass, expected.mass, "mass");

  const auto rounded = layer.out.values();
  const auto gradients = reference::attention_backward(layer.dout.values(), layer.qkv.values(), shape, &key,
                                                       given_value, place.dtype == DType::bf16 ? &rounded : nullptr);
  // In bf16 the queries' gradients are rounded before the slot's share is added, and after.
  const double close = place.dtype == DType::bf16 ? 1.5e-2 : reference::tolerance(place.dtype);
  expect_close(layer.dqkv, gradients.dqkv, close, "dqkv");
  expect_close(layer.dkey, gradients.dkey, close, "dkey");
  if (layer.dvalue) expect_close(*layer.dvalue, gradients.dvalue, close, "dvalue");
}

std::string case_name(const ::testing::TestParamInfo<std::tuple<Place, AttentionShape, Slot>>& info) {
  const auto& [place, shape, slot] = info.param;
  return place.name() + "_" + reference::name_of(shape) + (slot == Slot::key_only ? "_key_only" : "");
}

INSTANTIATE_TEST_SUITE_P(EveryShape, KvBias,
                         ::testing::Combine(::testing::ValuesIn(reference::kPlaces),
                                            ::testing::ValuesIn(reference::kAttentionShapes),
                                            ::testing::Values(Slot::key_and_value, Slot::key_only)),
                         case_name);
INSTANTIATE_TEST_SUITE_P(LongSequences, KvBias,
                         ::testing::Combine(::testing::Values(kCpuF32, kCpuF64),
                                            ::testing::ValuesIn(reference::kLongAttentionShapes),
                                            ::testing::Values(Slot::key_and_value)),
                         case_name);

TEST(KvBiasGradient, MatchesFiniteDifferences) {
  for (const Slot kind : {Slot::key_and_value, Slot::key_only}) {
    Layer layer({2, 11, 4, 2, 3}, kCpuF64, kind);
    layer.forward();
    layer.backward();
    const auto loss = [&] { return layer.forward(); };
    expect_gradient(loss, layer.qkv, layer.dqkv, "dqkv");
    expect_gradient(loss, layer.key, layer.dkey, "dkey");
    if (layer.value) expect_gradient(loss, *layer.value, *layer.dvalue, "dvalue");
  }
}

TEST(KvBiasGradient, AccumulatesInTheParameters) {
  Layer layer({1, 7, 2, 2, 4}, kCpuF64, Slot::key_and_value);
  layer.forward();
  layer.backward();
  auto twice = layer.dkey.values();
  for (double& value : twice) value *= 2.0;
  layer.backward();
  expect_close(layer.dkey, twice, 1e-12, "dkey after two backwards");
}

// A slot that takes nearly everything, or nearly nothing, must not overflow.
TEST(KvBiasRange, SurvivesLargeScores) {
  for (const Place& place : {kCpuF32, kCpuF64}) {
    Layer layer({1, 17, 2, 1, 8}, place, Slot::key_and_value, 30.0);
    layer.forward();
    layer.backward();
    const auto key = layer.key.values();
    const auto value = layer.value->values();
    const double relative = place.dtype == DType::f32 ? 2e-3 : 1e-10;
    expect_close(layer.out, reference::attention(layer.qkv.values(), layer.shape, &key, &value).out, relative, "out");
    const auto gradients =
        reference::attention_backward(layer.dout.values(), layer.qkv.values(), layer.shape, &key, &value);
    expect_close(layer.dqkv, gradients.dqkv, relative, "dqkv");
  }
}

TEST(KvBiasArguments, RefusesAGradientWithoutItsValue) {
  Layer layer({1, 3, 1, 1, 2}, kCpuF32, Slot::key_and_value);
  layer.forward();
  EXPECT_THROW(ops::kv_bias_backward(layer.dout, layer.qkv, layer.out, layer.mass, layer.key, Tensor(), layer.shape,
                                     layer.dqkv, layer.dkey, *layer.dvalue),
               Error);
}

}  // namespace
}  // namespace headroom
