// Our own models where no published architecture has their switches: what `headroom convert --to hf` writes beside
// modeling_headroom.py. config.json holds the switches of model/config.h, under transformers' names where it has some.
#include <fmt/format.h>

#include <map>

#include "model/huggingface/family.h"

namespace headroom::huggingface {
namespace {

using decoder::Config;

template <class Value>
Value choice(const ConfigJson& json, const std::string& key, const std::map<std::string, Value>& choices) {
  const std::string name = json.text(key, "");
  const auto found = choices.find(name);
  if (found == choices.end()) json.refuse(key, fmt::format("'{}' is not supported", name));
  return found->second;
}

Config headroom(const ConfigJson& json) {
  // Everything is written; a key that is missing is refused as 0.
  const auto count = [&](const char* key) { return json.positive(key, 0); };
  Config config;
  config.family = "headroom";
  config.vocab_size = count("vocab_size");
  config.hidden_size = config.embedding_size = count("hidden_size");
  config.n_layers = layer_count(json, "num_hidden_layers", 0);
  config.n_heads = count("num_attention_heads");
  config.n_kv_heads = count("num_key_value_heads");
  config.head_dim = count("head_dim");
  config.ffn_size = count("intermediate_size");
  config.max_positions = count("max_position_embeddings");
  config.embedding_scale = json.flag("embedding_scale", false);
  config.norm.kind = choice<decoder::NormKind>(
      json, "norm",
      {{"rms", decoder::NormKind::rms}, {"layer", decoder::NormKind::layer}, {"dyt", decoder::NormKind::dyt}});
  config.norm.eps = json.positive_real("norm_eps", 1e-5);
  config.norm.bias = json.flag("norm_bias", false) && config.norm.kind != decoder::NormKind::rms;
  config.learned_positions = choice<bool>(json, "positions", {{"rotary", false}, {"learned", true}});
  if (!config.learned_positions) {
    decoder::Rope rope;
    rope.theta = json.positive_real("rope_theta", 10000.0);
    rope.dims = config.head_dim;
    if (rope.dims % 2 != 0) json.refuse("head_dim", "must be even for rotary positions");
    config.ropes = {rope};
  }
  config.layers.assign(static_cast<std::size_t>(config.n_layers), {0, config.learned_positions ? -1 : 0, 0.0});
  config.qk_norm = json.flag("qk_norm", false) ? decoder::QkNorm::head_rms : decoder::QkNorm::none;
  config.kv_bias = choice<decoder::KvBias>(
      json, "kv_bias", {{"none", decoder::KvBias::none}, {"kv", decoder::KvBias::kv}, {"k", decoder::KvBias::k}});
  config.qkv_bias = config.output_bias = config.mlp_bias = json.flag("bias", false);
  config.activation = choice<decoder::Activation>(json, "activation",
                                                  {{"swiglu", decoder::Activation::silu},
                                                   {"gelu", decoder::Activation::gelu},
                                                   {"gelu_tanh", decoder::Activation::gelu_tanh},
                                                   {"relu", decoder::Activation::relu}});
  config.gated = config.activation == decoder::Activation::silu;
  config.tied_head = json.flag("tie_word_embeddings", false);
  return config;
}

TensorNames headroom_names(const Config& config) {
  TensorNames names;
  names.prefixes = {"model.", ""};
  names.embedding = "embedding";
  names.embedding_scale = "embedding_scale";
  names.positions = "positions";
  names.final_norm = "final_norm";
  names.layer = "layers.{}.";
  names.qkv = {"attention.q", "attention.k", "attention.v"};
  names.output = "attention.o";
  names.up = config.gated ? std::vector<std::string>{"mlp.gate", "mlp.up"} : std::vector<std::string>{"mlp.up"};
  names.down = "mlp.down";
  names.attention_norm = "attention_norm";
  names.mlp_norm = "mlp_norm";
  names.q_norm = "attention.q_norm";
  names.k_norm = "attention.k_norm";
  names.bias_key = "attention.bias_key";
  names.bias_value = "attention.bias_value";
  return names;
}

}  // namespace

const std::vector<Family> kOwnFamilies = {{"headroom", headroom, headroom_names}};

}  // namespace headroom::huggingface
