// Tiny models and batches for tests: odd sizes, every switch at hand.
#pragma once

#include <string>
#include <vector>

#include "base/random.h"
#include "model/transformer.h"

namespace headroom::tiny {

// Two layers, four heads over two key-value heads, odd widths; a vocabulary that no rank count divides.
inline ModelConfig config() {
  ModelConfig config;
  config.vocab_size = 29;
  config.hidden_size = 20;
  config.n_layers = 2;
  config.n_heads = 4;
  config.n_kv_heads = 4;
  config.head_dim = 6;
  config.ffn_size = 28;
  config.seq_len = 9;
  config.init.std = 0.2;  // large, so that attention and activations are far from linear
  config.init.kv_bias_std = 0.5;
  config.dyt.alpha_attention = 0.7;
  config.dyt.alpha_other = 0.4;
  return config;
}

inline Batch batch(std::int64_t sequences, std::int64_t seq, std::int64_t vocab) {
  Batch batch{sequences, seq, {}, {}};
  const RandomStream stream(7, "tiny batch");
  for (std::int64_t token = 0; token < sequences * seq; ++token) {
    const auto words = stream.bits(static_cast<std::uint64_t>(token));
    batch.ids.push_back(static_cast<std::int32_t>(words[0] % static_cast<std::uint32_t>(vocab)));
    batch.targets.push_back(static_cast<std::int32_t>(words[1] % static_cast<std::uint32_t>(vocab)));
  }
  batch.targets[3] = -1;  // not counted
  return batch;
}

// Loss and gradients of one batch; the gradients stay in the model.
inline LossSum run(Transformer& model, const Batch& batch, double scale = 1.0) {
  ops::zero(model.parameters().gradients());
  return model.forward_backward(batch, scale, nullptr, [](std::int64_t) {});
}

struct Variant {
  std::string name;
  ModelConfig config;
};

// Every combination of the switches.
inline std::vector<Variant> all_variants() {
  std::vector<Variant> variants;
  const auto add = [&](const std::string& name, ModelConfig config) { variants.push_back({name, resolved(config)}); };
  const char* norms[] = {"rms", "layer", "dyt"};
  const char* activations[] = {"swiglu", "gelu", "gelu_tanh", "relu"};
  const char* kv_biases[] = {"none", "kv", "k"};
  for (int norm = 0; norm < 3; ++norm) {
    for (int activation = 0; activation < 4; ++activation) {
      for (int kv_bias = 0; kv_bias < 3; ++kv_bias) {
        for (int bits = 0; bits < 32; ++bits) {
          ModelConfig one = config();
          one.n_layers = 1;  // what several layers add is in the fixtures
          one.norm = static_cast<NormKind>(norm);
          one.activation = static_cast<Activation>(activation);
          one.attention.kv_bias = static_cast<KvBiasKind>(kv_bias);
          one.positions = (bits & 1) != 0 ? PositionKind::learned : PositionKind::rotary;
          one.bias = (bits & 2) != 0;
          // On and off with every norm and every choice of `bias`, in the same number of models.
          one.norm_bias = (one.bias + activation + kv_bias) % 2 != 0;
          one.embedding_scale = (one.bias + activation + bits) % 2 != 0;
          one.tied_head = (bits & 4) != 0;
          one.qk_norm = (bits & 8) != 0;
          one.n_kv_heads = (bits & 16) != 0 ? 2 : 4;
          add(fmt::format("{}_{}_bias-{}_{}{}{}{}{}{}{}", norms[norm], activations[activation], kv_biases[kv_bias],
                          (bits & 1) != 0 ? "learned" : "rotary", one.bias ? "_biases" : "",
                          one.norm_bias ? "_normbias" : "", one.embedding_scale ? "_scale" : "",
                          (bits & 4) != 0 ? "_tied" : "", (bits & 8) != 0 ? "_qknorm" : "",
                          (bits & 16) != 0 ? "_gqa" : ""),
              one);
        }
      }
    }
  }
  return variants;
}

}  // namespace headroom::tiny
