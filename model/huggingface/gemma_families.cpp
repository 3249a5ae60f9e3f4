// Gemma: LLaMA's plan with norms whose weights are differences from 1, scaled embeddings, and from the second on norms
// behind attention and feed-forward, sliding windows and soft caps.
#include <fmt/format.h>

#include <cmath>

#include "model/huggingface/family.h"

namespace headroom::huggingface {
namespace {

using decoder::Config;

// What all of them read, with each its defaults.
struct Defaults {
  std::int64_t vocab, hidden, ffn, layers, heads, kv_heads;
  std::int64_t positions = 8192;
};

Config common(const ConfigJson& json, const Defaults& defaults) {
  Config config;
  config.family = json.text("model_type", "");
  config.vocab_size = json.positive("vocab_size", defaults.vocab);
  config.hidden_size = config.embedding_size = json.positive("hidden_size", defaults.hidden);
  config.ffn_size = json.positive("intermediate_size", defaults.ffn);
  config.n_layers = layer_count(json, "num_hidden_layers", defaults.layers);
  config.n_heads = json.positive("num_attention_heads", defaults.heads);
  config.n_kv_heads = json.positive("num_key_value_heads", defaults.kv_heads);
  config.head_dim = json.positive("head_dim", 256);
  config.max_positions = json.positive("max_position_embeddings", defaults.positions);
  config.norm = {.eps = json.positive_real("rms_norm_eps", 1e-6), .offset = true};
  config.embedding_multiplier = std::sqrt(static_cast<double>(config.hidden_size));
  config.qkv_bias = config.output_bias = json.flag("attention_bias", false);
  config.tied_head = json.flag("tie_word_embeddings", true);
  json.expect_flag("use_bidirectional_attention", false, false);
  config.layers = same_layers(config.n_layers, 0);
  return config;
}

// 0: none, which a file says by null.
double cap(const ConfigJson& json, const std::string& key, double otherwise) {
  if (json.null(key) || (otherwise == 0.0 && !json.has(key))) return 0.0;
  return json.positive_real(key, otherwise);
}

double score_scale(const ConfigJson& json) {
  return 1.0 / std::sqrt(json.positive_real("query_pre_attn_scalar", 256.0));
}

// Which layers slide is what layer_types says, or all but every `pattern`-th; those have the angles `sliding_rope`.
void window_layers(const ConfigJson& json, std::int64_t pattern, int sliding_rope, Config& config) {
  constexpr std::int64_t kWindow = 4096;
  const auto types = sliding_by_type(json, config.n_layers);
  const double scale = score_scale(json);
  for (std::int64_t layer = 0; layer < config.n_layers; ++layer) {
    const auto at = static_cast<std::size_t>(layer);
    const bool slides = types ? (*types)[at] : (layer + 1) % pattern != 0;
    if (slides && json.null("sliding_window"))
      json.refuse("sliding_window", "is null, and there are layers that slide");
    const std::int64_t window = slides ? json.positive("sliding_window", kWindow) : 0;
    config.layers[at] = {window, slides ? sliding_rope : 0, scale};
  }
}

Config gemma(const ConfigJson& json) {
  Config config = common(json, {256000, 3072, 24576, 28, 16, 16});
  // Published files say "gelu" and mean its tanh form, as transformers reads it.
  config.activation = json.text("hidden_act", "gelu") == "gelu" ? decoder::Activation::gelu_tanh
                                                                : activation_of(json, "hidden_act", "");
  config.ropes = {rope_of(json, config.head_dim, 10000.0, 1.0, {})};
  return config;
}

Config gemma2(const ConfigJson& json) {
  Config config = common(json, {256000, 2304, 9216, 26, 8, 4});
  config.activation = activation_of(json, "hidden_activation", "gelu_pytorch_tanh");
  config.place = decoder::NormPlace::sandwich;
  config.score_softcap = cap(json, "attn_logit_softcapping", 50.0);
  config.logit_softcap = cap(json, "final_logit_softcapping", 30.0);
  config.ropes = {rope_of(json, config.head_dim, 10000.0, 1.0, {})};
  window_layers(json, 2, 0, config);
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
      return rope_of_table(table ? *table : nothing, nothing, head_dim, theta, 1.0, {});
    };
    return {of("full_attention", kGlobalTheta), of("sliding_attention", kLocalTheta)};
  }
  decoder::Rope local;
  local.theta = json.positive_real("rope_local_base_freq", kLocalTheta);
  local.dims = head_dim;
  return {rope_of(json, head_dim, kGlobalTheta, 1.0, {}), local};
}

Config gemma3(const ConfigJson& json) {
  Config config = common(json, {262208, 2304, 9216, 26, 8, 4, 131072});
  config.activation = activation_of(json, "hidden_activation", "gelu_pytorch_tanh");
  config.place = decoder::NormPlace::sandwich;
  config.qk_norm = decoder::QkNorm::head_rms;
  config.logit_softcap = cap(json, "final_logit_softcapping", 0.0);
  config.ropes = gemma3_ropes(json, config.head_dim);
  window_layers(json, json.positive("sliding_window_pattern", 6), 1, config);
  return config;
}

// The text model of one that also sees; the rest of it is not read.
Config gemma3_of_text(const ConfigJson& json) {
  const auto text = json.table("text_config");
  Config config = gemma3(text ? *text : ConfigJson(nlohmann::json::object(), json.file()));
  config.family = "gemma3";
  config.tied_head = json.flag("tie_word_embeddings", true);
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

// Published files have the first prefix and their own name of a head, transformers 5 writes the second.
TensorNames names_beside_vision(const Config& config) {
  TensorNames names = sandwich_names(config);
  names.prefixes = {"language_model.model.", "model.language_model."};
  names.heads = {"language_model.lm_head", "lm_head"};
  return names;
}

}  // namespace

const std::vector<Family> kGemmaFamilies = {{"gemma", gemma, plain_names},
                                            {"gemma2", gemma2, sandwich_names},
                                            {"gemma3_text", gemma3, sandwich_names},
                                            {"gemma3", gemma3_of_text, names_beside_vision}};

}  // namespace headroom::huggingface
