// Gemma: LLaMA's plan with norms whose weights are differences from 1, scaled embeddings, and from the second on norms
// behind attention and feed-forward, sliding windows and soft caps.
#include <fmt/format.h>

#include <cmath>

#include "model/huggingface/family.h"

namespace headroom::huggingface {
namespace {

using decoder::Config;

Config common(const ConfigJson& json, std::int64_t vocab, std::int64_t hidden, std::int64_t ffn, std::int64_t layers,
              std::int64_t heads, std::int64_t kv_heads) {
  Config config;
  config.family = json.text("model_type", "");
  config.vocab_size = json.count("vocab_size", vocab);
  config.hidden_size = config.embedding_size = json.count("hidden_size", hidden);
  config.ffn_size = json.count("intermediate_size", ffn);
  config.n_layers = layer_count(json, "num_hidden_layers", layers);
  config.n_heads = json.count("num_attention_heads", heads);
  config.n_kv_heads = json.count("num_key_value_heads", kv_heads);
  config.head_dim = json.count("head_dim", 256);
  config.max_positions = json.count("max_position_embeddings", 8192);
  config.norm = {.eps = json.number("rms_norm_eps", 1e-6), .offset = true};
  config.embedding_multiplier = std::sqrt(static_cast<double>(config.hidden_size));
  config.qkv_bias = config.output_bias = json.flag("attention_bias", false);
  config.tied_head = json.flag("tie_word_embeddings", true);
  json.expect_flag("use_bidirectional_attention", false, false);
  config.layers = same_layers(config.n_layers, 0);
  return config;
}

double cap(const ConfigJson& json, const std::string& key, double otherwise) {
  const double found = json.null(key) ? 0.0 : json.number(key, otherwise);
  if (found < 0.0) json.refuse(key, "wants a number above 0");
  return found;
}

double score_scale(const ConfigJson& json) {
  const double scalar = json.number("query_pre_attn_scalar", 256.0);
  if (!(scalar > 0.0)) json.refuse("query_pre_attn_scalar", "wants a number above 0");
  return 1.0 / std::sqrt(scalar);
}

// Which layers slide: as layer_types says, or all but every `pattern`-th.
std::vector<bool> sliding_layers(const ConfigJson& json, std::int64_t layers, std::int64_t pattern) {
  const std::vector<std::string> types = json.texts("layer_types");
  std::vector<bool> slides;
  for (std::int64_t layer = 0; layer < layers; ++layer) slides.push_back((layer + 1) % pattern != 0);
  if (types.empty()) return slides;
  if (types.size() != slides.size()) {
    json.refuse("layer_types", fmt::format("has {} entries for {} layers", types.size(), layers));
  }
  for (std::size_t layer = 0; layer < types.size(); ++layer) {
    slides[layer] = types[layer] == "sliding_attention";
    if (!slides[layer] && types[layer] != "full_attention") {
      json.refuse("layer_types", fmt::format("'{}' is not supported", types[layer]));
    }
  }
  return slides;
}

void window_layers(const ConfigJson& json, std::int64_t pattern, double scale, Config& config) {
  constexpr std::int64_t kWindow = 4096;
  const std::int64_t window = json.null("sliding_window") ? 0 : json.number_of("sliding_window", kWindow);
  const std::vector<bool> slides = sliding_layers(json, config.n_layers, pattern);
  for (std::size_t layer = 0; layer < slides.size(); ++layer) {
    config.layers[layer] = {slides[layer] ? window : 0, 0, scale};
  }
}

Config gemma(const ConfigJson& json) {
  Config config = common(json, 256000, 3072, 24576, 28, 16, 16);
  // Published files say "gelu" and mean its tanh form, as transformers reads it.
  config.activation = json.text("hidden_act", "gelu") == "gelu" ? decoder::Activation::gelu_tanh
                                                                : activation_of(json, "hidden_act", "");
  config.ropes = {rope_of(json, config.head_dim, 10000.0, 1.0, false)};
  return config;
}

Config gemma2(const ConfigJson& json) {
  Config config = common(json, 256000, 2304, 9216, 26, 8, 4);
  config.activation = activation_of(json, "hidden_activation", "gelu_pytorch_tanh");
  config.place = decoder::NormPlace::sandwich;
  config.score_softcap = cap(json, "attn_logit_softcapping", 50.0);
  config.logit_softcap = cap(json, "final_logit_softcapping", 30.0);
  config.ropes = {rope_of(json, config.head_dim, 10000.0, 1.0, false)};
  window_layers(json, 2, score_scale(json), config);
  return config;
}

// Angles of their own for layers that slide: in one table a kind of layer (new), or under keys of their own (old).
std::vector<decoder::Rope> gemma3_ropes(const ConfigJson& json, std::int64_t head_dim) {
  constexpr double kGlobalTheta = 1e6;
  constexpr double kLocalTheta = 1e4;
  const auto parameters = json.table("rope_parameters");
  if (parameters && (parameters->has("full_attention") || parameters->has("sliding_attention"))) {
    const auto of = [&](const char* kind, double theta) {
      const auto table = parameters->table(kind);
      const ConfigJson nothing(nlohmann::json::object(), json.file());
      return rope_of_table(table ? *table : nothing, nothing, head_dim, theta, 1.0, false);
    };
    return {of("full_attention", kGlobalTheta), of("sliding_attention", kLocalTheta)};
  }
  decoder::Rope local;
  local.theta = json.number("rope_local_base_freq", kLocalTheta);
  local.dims = head_dim;
  return {rope_of(json, head_dim, kGlobalTheta, 1.0, false), local};
}

Config gemma3(const ConfigJson& json) {
  Config config = common(json, 262208, 2304, 9216, 26, 8, 4);
  config.activation = activation_of(json, "hidden_activation", "gelu_pytorch_tanh");
  config.place = decoder::NormPlace::sandwich;
  config.qk_norm = decoder::QkNorm::head_rms;
  config.logit_softcap = cap(json, "final_logit_softcapping", 0.0);
  config.ropes = gemma3_ropes(json, config.head_dim);
  const std::int64_t pattern = json.count("sliding_window_pattern", json.count("_sliding_window_pattern", 6));
  window_layers(json, pattern, score_scale(json), config);
  const std::vector<bool> slides = sliding_layers(json, config.n_layers, pattern);
  for (std::size_t layer = 0; layer < slides.size(); ++layer) config.layers[layer].rope = slides[layer] ? 1 : 0;
  return config;
}

TensorNames plain_names(const Config&) {
  return llama_names();
}

TensorNames sandwich_names(const Config&) {
  TensorNames names = llama_names();
  names.attention_output_norm = "post_attention_layernorm";
  names.mlp_norm = "pre_feedforward_layernorm";
  names.mlp_output_norm = "post_feedforward_layernorm";
  return names;
}

}  // namespace

const std::vector<Family> kGemmaFamilies = {
    {"gemma", gemma, plain_names}, {"gemma2", gemma2, sandwich_names}, {"gemma3_text", gemma3, sandwich_names}};

}  // namespace headroom::huggingface
