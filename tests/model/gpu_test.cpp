// Whole models on the GPU, real or emulated, against the same model in float64 on the CPU: logits, loss, every
// gradient; recomputation and repetition to the bit.
#include <gtest/gtest.h>

#include <cmath>

#include "tensor/transfer.h"
#include "tests/model/tiny_model.h"
#include "tests/needs_gpu.h"

namespace headroom {
namespace {

// Every kind of module at least once; widths that 16-byte accesses divide, and ones that they do not.
std::vector<tiny::Variant> variants() {
  std::vector<tiny::Variant> all;
  const auto add = [&](const char* name) -> ModelConfig& {
    return all.emplace_back(tiny::Variant{name, tiny::config()}).config;
  };
  ModelConfig& llama = add("llama");
  llama.hidden_size = 32;
  llama.head_dim = 8;
  llama.n_kv_heads = 2;
  llama.ffn_size = 48;
  ModelConfig& gpt2 = add("gpt2");
  gpt2.norm = NormKind::layer;
  gpt2.activation = Activation::gelu_tanh;
  gpt2.positions = PositionKind::learned;
  gpt2.bias = gpt2.norm_bias = gpt2.tied_head = true;
  ModelConfig& dyt = add("dyt_kv_bias");
  dyt.norm = NormKind::dyt;
  dyt.norm_bias = dyt.embedding_scale = true;
  dyt.attention.kv_bias = KvBiasKind::kv;
  ModelConfig& mixed = add("qk_norm_k_bias_gelu");
  mixed.qk_norm = true;
  mixed.activation = Activation::gelu;
  mixed.attention.kv_bias = KvBiasKind::k;
  add("relu").activation = Activation::relu;
  for (tiny::Variant& variant : all) variant.config = resolved(variant.config);
  return all;
}

struct Pass {
  double loss = 0.0;
  std::vector<std::vector<double>> gradients;  // a parameter each
};

// What differs between two passes: the distance of a parameter's gradients over the largest of them.
double distance(const std::vector<double>& actual, const std::vector<double>& expected, double floor) {
  double scale = floor;
  double worst = 0.0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    scale = std::max(scale, std::abs(expected[i]));
    const double difference = std::abs(actual[i] - expected[i]);
    worst = std::isnan(difference) ? difference : std::max(worst, difference);
  }
  return worst / scale;
}

Pass run(const ModelConfig& config, const TransformerOptions& options) {
  const Mesh mesh = Mesh::single();
  Transformer model(config, mesh, options);
  const Batch batch = tiny::batch(3, 7, config.vocab_size);
  model.plan(batch.batch, batch.seq);
  model.parameters().initialize(11);
  Pass pass;
  pass.loss = tiny::run(model, batch).mean();
  for (const Parameter& parameter : model.parameters().all()) {
    pass.gradients.push_back(download_as<double>(parameter.gradient));
  }
  return pass;
}

class GpuModel : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override { HEADROOM_NEEDS_GPU(); }
};
INSTANTIATE_TEST_SUITE_P(Everywhere, GpuModel, testing::Values(DType::f32, DType::bf16),
                         [](const auto& tested) { return std::string("cuda_") + std::string(name_of(tested.param)); });

TEST_P(GpuModel, LossAndGradientsAreThoseOfTheCpuInF64) {
  const bool narrow = GetParam() == DType::bf16;
  for (const tiny::Variant& variant : variants()) {
    SCOPED_TRACE(variant.name);
    const Pass expected = run(variant.config, {.dtype = DType::f64, .loss_chunk = 8});
    const Pass actual = run(variant.config, {.dtype = GetParam(), .device = Device::cuda, .loss_chunk = 8});
    EXPECT_NEAR(actual.loss, expected.loss, (narrow ? 1e-2 : 1e-6) * expected.loss);
    const Mesh mesh = Mesh::single();
    const Transformer names(variant.config, mesh, {});
    for (std::size_t index = 0; index < expected.gradients.size(); ++index) {
      EXPECT_LT(distance(actual.gradients[index], expected.gradients[index], 0.1), narrow ? 0.1 : 1e-5)
          << names.parameters()[index].name;
    }
  }
}

TEST_P(GpuModel, EveryRecomputationAndRepetitionGivesTheSameBits) {
  for (const tiny::Variant& variant : variants()) {
    SCOPED_TRACE(variant.name);
    const TransformerOptions plain{.dtype = GetParam(), .device = Device::cuda, .loss_chunk = 8};
    const Pass once = run(variant.config, plain);
    for (const Recompute recompute : {Recompute::none, Recompute::norms, Recompute::attention, Recompute::block}) {
      TransformerOptions options = plain;
      options.recompute = recompute;
      const Pass again = run(variant.config, options);
      EXPECT_EQ(again.loss, once.loss);
      EXPECT_EQ(again.gradients, once.gradients) << "recompute level " << static_cast<int>(recompute);
    }
  }
}

}  // namespace
}  // namespace headroom
