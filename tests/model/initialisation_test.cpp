// What parameters start as: the deviations and constants that each scheme declares, by name, and that the numbers drawn
// have them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "model/transformer.h"

namespace headroom {
namespace {

constexpr double kStd = 0.03;

ModelConfig config() {
  ModelConfig config;
  config.vocab_size = 211;
  config.hidden_size = 64;
  config.n_layers = 3;
  config.n_heads = 4;
  config.ffn_size = 96;
  config.seq_len = 32;
  config.init.std = kStd;
  return config;
}

struct Model {
  explicit Model(const ModelConfig& of) : model(resolved(of), mesh, {.dtype = DType::f64}) { model.plan(1, 1); }
  double std_of(const std::string& name) const { return model.parameters().find(name).init_std; }
  double mean_of(const std::string& name) const { return model.parameters().find(name).init_mean; }

  Mesh mesh = Mesh::single();
  Transformer model;
};

std::string layer(std::int64_t index, const std::string& part) {
  return fmt::format("layers.{}.{}", index, part);
}

constexpr const char* kInputs[] = {"attention.q.weight", "attention.k.weight", "attention.v.weight", "mlp.gate.weight",
                                   "mlp.up.weight"};
constexpr const char* kOutputs[] = {"attention.o.weight", "mlp.down.weight"};  // write into the residual stream

TEST(Initialisation, PlainGivesEveryMatrixTheSameDeviation) {
  ModelConfig plain = config();
  plain.positions = PositionKind::learned;
  const Model model(plain);
  for (const Parameter& parameter : model.model.parameters().all()) {
    const bool matrix = parameter.logical.rank() == 2;
    EXPECT_EQ(parameter.init_std, matrix ? kStd : 0.0) << parameter.name;
    EXPECT_EQ(parameter.init_mean, matrix ? 0.0 : 1.0) << parameter.name << ", a norm's weight";
  }
}

TEST(Initialisation, LirDividesByTheRootOfTheLayerFromOne) {
  ModelConfig lir = config();
  lir.init.lir = true;
  const Model model(lir);
  for (std::int64_t index = 0; index < lir.n_layers; ++index) {
    const double expected = kStd / std::sqrt(static_cast<double>(index + 1));
    for (const char* part : kInputs) EXPECT_DOUBLE_EQ(model.std_of(layer(index, part)), expected) << part;
    for (const char* part : kOutputs) EXPECT_DOUBLE_EQ(model.std_of(layer(index, part)), expected) << part;
  }
  EXPECT_EQ(model.std_of("embedding.weight"), kStd);
  EXPECT_EQ(model.std_of("head.weight"), kStd);
}

TEST(Initialisation, Gpt2ScalesWhatWritesIntoTheResidualStream) {
  ModelConfig gpt2 = config();
  gpt2.init.scheme = InitScheme::gpt2;
  const Model model(gpt2);
  for (std::int64_t index = 0; index < gpt2.n_layers; ++index) {
    for (const char* part : kInputs) EXPECT_EQ(model.std_of(layer(index, part)), kStd) << part;
    for (const char* part : kOutputs) {
      EXPECT_DOUBLE_EQ(model.std_of(layer(index, part)), kStd / std::sqrt(6.0)) << part;
    }
  }
  EXPECT_EQ(model.std_of("embedding.weight"), kStd);
}

TEST(Initialisation, LirAndGpt2TogetherAreRefused) {
  ModelConfig both = resolved(config());
  both.init.lir = true;
  validate(both, 32, 1);
  both.init.scheme = InitScheme::gpt2;
  try {
    validate(both, 32, 1);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_config);
    EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("init.lir"), testing::HasSubstr("init.scheme")));
    EXPECT_THAT(error.hint(), testing::HasSubstr("init.lir = false"));
  }
}

TEST(Initialisation, KvBiasHasADeviationOfItsOwn) {
  ModelConfig biased = config();
  biased.attention.kv_bias = KvBiasKind::kv;
  biased.init.kv_bias_std = 0.5;
  biased.init.lir = true;
  const Model model(biased);
  EXPECT_EQ(model.std_of(layer(2, "attention.kv_bias.key")), 0.5);
  EXPECT_EQ(model.std_of(layer(2, "attention.kv_bias.value")), 0.5);
}

// The table of arXiv 2503.10622; between its rows the nearer one by ratio (1500 is nearer to 2048 than to 1024).
TEST(DytAlphas, FollowThePublishedTableByWidth) {
  struct Row {
    std::int64_t width;
    double attention;
    double other;
  };
  for (const Row& row : {Row{128, 1.0, 1.0}, Row{1024, 1.0, 1.0}, Row{1500, 1.0, 0.5}, Row{2048, 1.0, 0.5},
                         Row{4096, 0.8, 0.2}, Row{8192, 0.2, 0.05}, Row{16384, 0.2, 0.05}}) {
    const DytAlpha alpha = dyt_alpha_for_width(row.width);
    EXPECT_EQ(alpha.attention, row.attention) << row.width;
    EXPECT_EQ(alpha.other, row.other) << row.width;
  }
}

TEST(DytAlphas, StartWhereTheConfigSaysAndAreReportedInOrder) {
  ModelConfig dyt = config();
  dyt.norm = NormKind::dyt;
  dyt.embedding_scale = true;
  dyt.dyt.alpha_attention = 0.75;
  dyt.dyt.alpha_other = 0.25;
  Model model(dyt);
  EXPECT_EQ(model.mean_of(layer(1, "attention_norm.alpha")), 0.75);
  EXPECT_EQ(model.mean_of(layer(1, "mlp_norm.alpha")), 0.25);
  EXPECT_EQ(model.mean_of("final_norm.alpha"), 0.25);
  EXPECT_EQ(model.mean_of("embedding.scale"), 8.0) << "the root of the hidden size";
  model.model.parameters().initialize(5);
  EXPECT_THAT(model.model.dyt_alphas(), testing::ElementsAre(0.75, 0.25, 0.75, 0.25, 0.75, 0.25, 0.25));
}

// Mean and deviation of n normal numbers miss their own by about std / sqrt(n) and std / sqrt(2 n).
TEST(Initialisation, DrawnNumbersHaveTheDeclaredMeanAndDeviation) {
  ModelConfig drawn = config();
  drawn.norm = NormKind::dyt;
  drawn.embedding_scale = true;
  drawn.bias = true;
  drawn.init.lir = true;
  Model model(drawn);
  model.model.parameters().initialize(5);
  for (const Parameter& parameter : model.model.parameters().all()) {
    const double n = static_cast<double>(parameter.elements());
    const double mean = ops::sum(parameter.value) / n;
    const double std = std::sqrt(ops::sum_of_squares(parameter.value, mean) / n);
    EXPECT_NEAR(mean, parameter.init_mean, 5.0 * parameter.init_std / std::sqrt(n)) << parameter.name;
    EXPECT_NEAR(std, parameter.init_std, 5.0 * parameter.init_std / std::sqrt(2.0 * n)) << parameter.name;
  }
}

}  // namespace
}  // namespace headroom
