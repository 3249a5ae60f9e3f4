// The whole model against PyTorch: loss, logits and every gradient, from tests/fixtures (made by
// make_model_fixtures.py in float64 with transformers' LLaMA, GPT-2 and straightforward definitions of the rest).
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/hdf5.h"
#include "model/transformer.h"
#include "tests/source_dir.h"

namespace headroom {
namespace {

template <class Choice>
Choice choice(const H5File& file, const std::string& key, const std::map<std::string, Choice>& choices) {
  return choices.at(file.text_attribute("/", "model." + key));
}

ModelConfig read_config(const H5File& file) {
  const auto integer = [&](const char* key) { return file.int_attribute("/", std::string("model.") + key); };
  const auto real = [&](const char* key) { return file.real_attribute("/", std::string("model.") + key); };
  ModelConfig config;
  config.vocab_size = integer("vocab_size");
  config.hidden_size = integer("hidden_size");
  config.n_layers = integer("n_layers");
  config.n_heads = integer("n_heads");
  config.n_kv_heads = integer("n_kv_heads");
  config.head_dim = integer("head_dim");
  config.ffn_size = integer("ffn_size");
  config.seq_len = integer("seq_len");
  config.norm =
      choice<NormKind>(file, "norm", {{"rms", NormKind::rms}, {"layer", NormKind::layer}, {"dyt", NormKind::dyt}});
  config.norm_eps = real("norm_eps");
  config.norm_bias = integer("norm_bias") != 0;
  config.activation = choice<Activation>(file, "activation",
                                         {{"swiglu", Activation::swiglu},
                                          {"gelu", Activation::gelu},
                                          {"gelu_tanh", Activation::gelu_tanh},
                                          {"relu", Activation::relu}});
  config.positions =
      choice<PositionKind>(file, "positions", {{"rotary", PositionKind::rotary}, {"learned", PositionKind::learned}});
  config.rope_theta = real("rope_theta");
  config.bias = integer("bias") != 0;
  config.tied_head = integer("tied_head") != 0;
  config.qk_norm = integer("qk_norm") != 0;
  config.embedding_scale = integer("embedding_scale") != 0;
  config.attention.kv_bias = choice<KvBiasKind>(
      file, "attention.kv_bias", {{"none", KvBiasKind::none}, {"kv", KvBiasKind::kv}, {"k", KvBiasKind::k}});
  return resolved(config);
}

template <class T>
void load_weights(const H5File& file, Transformer& model) {
  for (const Parameter& parameter : model.parameters().all()) {
    const auto weights = file.read<double>("weights/" + parameter.name);
    ASSERT_EQ(static_cast<std::int64_t>(weights.values.size()), parameter.elements()) << parameter.name;
    for (std::size_t i = 0; i < weights.values.size(); ++i) {
      parameter.value.data<T>()[i] = static_cast<T>(weights.values[i]);
    }
  }
}

// Largest difference, relative to the largest expected magnitude, or to `floor` where all of them are smaller: some
// gradients are zero by nature (a key's bias moves all scores of a query alike).
template <class T>
double relative_error(std::span<const T> actual, const std::vector<double>& expected, double floor) {
  double scale = floor;
  double difference = 0.0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    scale = std::max(scale, std::abs(expected[i]));
    difference = std::max(difference, std::abs(static_cast<double>(actual[i]) - expected[i]));
  }
  return difference / scale;
}

template <class T>
void compare(const std::string& name, double tolerance, double smallest_gradient) {
  const H5File file = H5File::open(test::source_dir() + "/tests/fixtures/" + name + ".h5");
  const ModelConfig config = read_config(file);
  const Mesh mesh = Mesh::single();
  Transformer model(config, mesh, {.dtype = dtype_of<T>(), .loss_chunk = 10});

  const auto ids = file.read<std::int32_t>("ids");
  const Batch batch{ids.dims[0], ids.dims[1], ids.values, file.read<std::int32_t>("targets").values};
  model.plan(batch.batch, batch.seq);
  load_weights<T>(file, model);

  const std::int64_t rows = batch.batch * batch.seq;
  std::vector<T> logits(static_cast<std::size_t>(rows * config.vocab_size));
  model.logits(batch, Tensor::over(std::span<T>(logits), {rows, config.vocab_size}));
  EXPECT_LT(relative_error<T>(logits, file.read<double>("logits").values, 1e-3), tolerance) << "logits";

  ops::zero(model.parameters().gradients());
  const LossSum loss = model.forward_backward(batch, 1.0 / static_cast<double>(rows), nullptr, [](std::int64_t) {});
  const double expected = file.read<double>("loss").values[0];
  EXPECT_EQ(loss.tokens, rows);
  EXPECT_NEAR(loss.mean(), expected, tolerance * expected);

  ASSERT_EQ(file.children("weights").size(), model.parameters().all().size()) << "a parameter is missing";
  for (const Parameter& parameter : model.parameters().all()) {
    const auto gradient = file.read<double>("gradients/" + parameter.name);
    EXPECT_LT(relative_error<T>(parameter.gradient.span<T>(), gradient.values, smallest_gradient), tolerance)
        << parameter.name;
  }
}

class Fixture : public testing::TestWithParam<const char*> {};

TEST_P(Fixture, LossLogitsAndGradientsInFloat64) {
  compare<double>(GetParam(), 1e-10, 1e-4);
}
TEST_P(Fixture, LossLogitsAndGradientsInFloat32) {
  compare<float>(GetParam(), 2e-5, 1e-3);
}

INSTANTIATE_TEST_SUITE_P(PyTorch, Fixture,
                         testing::Values("llama", "gpt2", "kv_bias", "k_bias", "dyt", "qk_norm", "mixed"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace headroom
