// Which parameters weight decay applies to: matrices, embeddings, positions and the KV bias; no norm's, no bias, no
// scalar. By name for every kind of model, and in what an update does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "model/transformer.h"
#include "optim/adamw.h"
#include "tests/arena_for.h"

namespace headroom {
namespace {

using Names = std::set<std::string>;

ModelConfig config() {
  ModelConfig config;
  config.vocab_size = 13;
  config.hidden_size = 8;
  config.n_layers = 1;
  config.n_heads = 2;
  config.ffn_size = 12;
  config.seq_len = 4;
  return config;
}

// The weights that every model with a gated feed-forward and a head of its own decays, and these.
Names weights_and(const Names& more) {
  Names names = {"embedding.weight",
                 "layers.0.attention.q.weight",
                 "layers.0.attention.k.weight",
                 "layers.0.attention.v.weight",
                 "layers.0.attention.o.weight",
                 "layers.0.mlp.gate.weight",
                 "layers.0.mlp.up.weight",
                 "layers.0.mlp.down.weight",
                 "head.weight"};
  names.insert(more.begin(), more.end());
  return names;
}

struct Variant {
  const char* name;
  ModelConfig config;
  Names decayed;
};

std::vector<Variant> variants() {
  std::vector<Variant> all = {{"baseline", config(), weights_and({})}};
  const auto add = [&](const char* name, const Names& decayed) -> ModelConfig& {
    return all.emplace_back(Variant{name, config(), decayed}).config;
  };
  add("kv bias", weights_and({"layers.0.attention.kv_bias.key", "layers.0.attention.kv_bias.value"}))
      .attention.kv_bias = KvBiasKind::kv;
  add("k bias", weights_and({"layers.0.attention.kv_bias.key"})).attention.kv_bias = KvBiasKind::k;
  ModelConfig& dyt = add("dyt", weights_and({}));
  dyt.norm = NormKind::dyt;
  dyt.norm_bias = true;
  dyt.embedding_scale = true;
  ModelConfig& layer = add("layer norm, biases, QK-norm, learned positions", weights_and({"positions.weight"}));
  layer.norm = NormKind::layer;
  layer.norm_bias = true;
  layer.bias = true;
  layer.qk_norm = true;
  layer.positions = PositionKind::learned;
  Names without_head = weights_and({});
  without_head.erase("head.weight");
  without_head.erase("layers.0.mlp.gate.weight");
  ModelConfig& gpt2 = add("tied head, GELU", without_head);
  gpt2.tied_head = true;
  gpt2.activation = Activation::gelu;
  return all;
}

TEST(DecayGroups, HoldTheNamedParametersAndNoOthers) {
  const Mesh mesh = Mesh::single();
  for (const Variant& variant : variants()) {
    Transformer model(resolved(variant.config), mesh, {.dtype = DType::f64});
    Names decayed;
    for (const Parameter& parameter : model.parameters().all()) {
      if (parameter.decay) decayed.insert(parameter.name);
    }
    EXPECT_EQ(decayed, variant.decayed) << variant.name;
  }
}

// Without a gradient, lr 0.5 and weight decay 0.25 take an eighth away from what decays, and nothing from the rest.
TEST(DecayGroups, AreWhatAnUpdateWithoutAGradientShrinks) {
  const Mesh mesh = Mesh::single();
  OptimConfig optim;
  optim.weight_decay = 0.25;
  for (const Variant& variant : variants()) {
    SCOPED_TRACE(variant.name);
    Transformer model(resolved(variant.config), mesh, {.dtype = DType::f64, .bucket_elements = 64});
    const OptimizerShard shard(model.parameters(), 0, 1);
    AdamW optimizer(model.parameters(), shard, mesh, optim);
    const auto memory = arena_for(model.parameters(), optimizer);
    for (const Parameter& parameter : model.parameters().all()) {
      for (double& value : parameter.value.span<double>()) value = 8.0;
    }
    optimizer.update(1, 0.5, Number(1.0));
    for (const Parameter& parameter : model.parameters().all()) {
      EXPECT_THAT(parameter.value.span<double>(), testing::Each(variant.decayed.contains(parameter.name) ? 7.0 : 8.0))
          << parameter.name;
    }
  }
}

}  // namespace
}  // namespace headroom
