// Every gradient of every combination of switches against central differences of the loss, in float64.
#include <gtest/gtest.h>

#include <cmath>

#include "model/transformer.h"
#include "tests/model/tiny_model.h"

namespace headroom {
namespace {

// Moves one parameter along a direction and measures the slope of the loss. A small step for ReLU, lest a unit crosses
// its kink.
double slope(Transformer& model, const Batch& batch, const Parameter& parameter, const std::vector<double>& direction) {
  const double step = model.config().activation == Activation::relu ? 1e-7 : 1e-5;
  double* const values = parameter.value.data<double>();
  const auto move = [&](double by) {
    for (std::size_t i = 0; i < direction.size(); ++i) values[i] += by * direction[i];
  };
  move(step);
  const double above = model.evaluate(batch, nullptr).nll;
  move(-2 * step);
  const double below = model.evaluate(batch, nullptr).nll;
  move(step);
  return (above - below) / (2 * step);
}

TEST(FiniteDifferences, EveryParameterOfEveryVariant) {
  const Mesh mesh = Mesh::single();
  for (const tiny::Variant& variant : tiny::all_variants()) {
    SCOPED_TRACE(variant.name);
    // A chunk smaller than the batch, so that the classifier's last chunk is a partial one.
    Transformer model(variant.config, mesh, {.dtype = DType::f64, .loss_chunk = 8});
    const Batch batch = tiny::batch(2, 5, variant.config.vocab_size);
    model.plan(batch.batch, batch.seq);
    model.parameters().initialize(11);
    tiny::run(model, batch);
    for (const Parameter& parameter : model.parameters().all()) {
      const RandomStream stream(3, parameter.name + " direction");
      std::vector<double> direction(static_cast<std::size_t>(parameter.elements()));
      double expected = 0.0;
      double scale = 1.0;
      for (std::size_t i = 0; i < direction.size(); ++i) {
        direction[i] = stream.normal(i);
        const double product = direction[i] * parameter.gradient.data<double>()[i];
        expected += product;
        scale += std::abs(product);
      }
      EXPECT_NEAR(slope(model, batch, parameter, direction), expected, 2e-7 * scale) << parameter.name;
    }
    if (HasFailure()) return;  // one variant's list of failures is enough to read
  }
}

TEST(FiniteDifferences, GradientsAccumulateOverMicroBatches) {
  const Mesh mesh = Mesh::single();
  const ModelConfig config = resolved(tiny::config());
  const Batch whole = tiny::batch(2, 7, config.vocab_size);
  Batch halves[2];
  for (std::int64_t half = 0; half < 2; ++half) {
    const auto slice = [&](const std::vector<std::int32_t>& all) {
      return std::vector<std::int32_t>(all.begin() + half * 7, all.begin() + (half + 1) * 7);
    };
    halves[half] = {1, 7, slice(whole.ids), slice(whole.targets)};
  }
  Transformer model(config, mesh, {.dtype = DType::f64});
  model.plan(2, 7);
  model.parameters().initialize(11);
  const LossSum loss = tiny::run(model, whole, 0.25);
  const auto gradients = model.parameters().gradients().span<double>();
  const std::vector<double> expected(gradients.begin(), gradients.end());

  LossSum sum = tiny::run(model, halves[0], 0.25);
  sum += model.forward_backward(halves[1], 0.25, nullptr, [](std::int64_t) {});
  EXPECT_EQ(sum.tokens, loss.tokens);
  EXPECT_NEAR(sum.nll, loss.nll, 1e-12 * loss.nll);
  for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(gradients[i], expected[i], 1e-12);
}

TEST(Recompute, GivesTheSameBits) {
  const Mesh mesh = Mesh::single();
  for (const KvBiasKind kv_bias : {KvBiasKind::none, KvBiasKind::kv}) {
    ModelConfig config = tiny::config();
    config.n_layers = 5;
    config.attention.kv_bias = kv_bias;
    const Batch batch = tiny::batch(3, 7, config.vocab_size);
    std::vector<std::vector<float>> gradients;
    std::vector<std::size_t> bytes;
    for (const Recompute recompute : {Recompute::none, Recompute::norms, Recompute::attention, Recompute::block}) {
      Transformer model(config, mesh, {.recompute = recompute});
      model.plan(3, 7);
      model.parameters().initialize(5);
      bytes.push_back(0);
      for (const Arena::Category& category : model.memory()) bytes.back() += category.bytes;
      tiny::run(model, batch);
      const auto values = model.parameters().gradients().span<float>();
      gradients.emplace_back(values.begin(), values.end());
    }
    for (std::size_t level = 1; level < gradients.size(); ++level) {
      EXPECT_EQ(gradients[level], gradients[0]);
      EXPECT_LT(bytes[level], bytes[level - 1]) << "each level keeps less than the one before";
    }
  }
}

}  // namespace
}  // namespace headroom
