// LLaMA and those built like it: RMSNorm (OLMo: LayerNorm without weights), rotary positions, gated feed-forward.
#include <fmt/format.h>

#include "model/huggingface/family.h"

namespace headroom::huggingface {
TensorNames llama_names() {
  TensorNames names;
  names.prefixes = {"model.", ""};
  names.embedding = "embed_tokens";
  names.final_norm = "norm";
  names.layer = "layers.{}.";
  names.qkv = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
  names.output = "self_attn.o_proj";
  names.up = {"mlp.gate_proj", "mlp.up_proj"};
  names.down = "mlp.down_proj";
  names.attention_norm = "input_layernorm";
  names.mlp_norm = "post_attention_layernorm";
  names.q_norm = "self_attn.q_norm";
  names.k_norm = "self_attn.k_norm";
  return names;
}

namespace {

using decoder::Config;

// What all of them read, with each its defaults.
struct Defaults {
  std::int64_t vocab, hidden, ffn, layers, heads;
  std::int64_t kv_heads = 0;  // 0: as many as heads
  std::int64_t head_dim = 0;  // 0: hidden / heads
  double eps = 1e-6;
  std::int64_t positions = 2048;
  bool whole_heads = false;  // hidden must divide by heads though head_dim is given
};

Config common(const ConfigJson& json, const Defaults& defaults) {
  Config config;
  config.family = json.text("model_type", "");
  config.vocab_size = json.positive("vocab_size", defaults.vocab);
  config.hidden_size = config.embedding_size = json.positive("hidden_size", defaults.hidden);
  config.ffn_size = json.positive("intermediate_size", defaults.ffn);
  config.n_layers = layer_count(json, "num_hidden_layers", defaults.layers);
  config.n_heads = json.positive("num_attention_heads", defaults.heads);
  const std::int64_t kv =
      defaults.kv_heads > 0 && !json.null("num_key_value_heads") ? defaults.kv_heads : config.n_heads;
  config.n_kv_heads = json.positive("num_key_value_heads", kv);
  const bool default_head = defaults.head_dim > 0 && !json.null("head_dim");
  config.head_dim = json.positive("head_dim", default_head ? defaults.head_dim : config.hidden_size / config.n_heads);
  if ((defaults.whole_heads || config.head_dim * config.n_heads == 0) && config.hidden_size % config.n_heads != 0) {
    json.refuse("num_attention_heads",
                fmt::format("{} does not divide hidden_size {}", config.n_heads, config.hidden_size));
  }
  config.max_positions = json.positive("max_position_embeddings", defaults.positions);
  config.norm.eps = json.positive_real("rms_norm_eps", defaults.eps);
  config.activation = activation_of(json, "hidden_act", "silu");
  config.layers = same_layers(config.n_layers, 0);
  return config;
}

// 0: none, which a file says by null.
std::int64_t window_of(const ConfigJson& json, std::int64_t otherwise) {
  if (json.given("sliding_window")) return json.positive("sliding_window", otherwise);
  return json.null("sliding_window") ? 0 : otherwise;
}

void rotary(const ConfigJson& json, Config& config) {
  config.ropes = {rope_of(json, config.head_dim, 10000.0, 1.0, {})};
}

Config llama(const ConfigJson& json) {
  Config config =
      common(json, {.vocab = 32000, .hidden = 4096, .ffn = 11008, .layers = 32, .heads = 32, .whole_heads = true});
  config.qkv_bias = config.output_bias = json.flag("attention_bias", false);
  config.mlp_bias = json.flag("mlp_bias", false);
  config.tied_head = json.flag("tie_word_embeddings", false);
  rotary(json, config);
  return config;
}

Config mistral(const ConfigJson& json) {
  Config config = common(
      json,
      {.vocab = 32000, .hidden = 4096, .ffn = 14336, .layers = 32, .heads = 32, .kv_heads = 8, .positions = 131072});
  config.tied_head = json.flag("tie_word_embeddings", false);
  rotary(json, config);
  config.layers = same_layers(config.n_layers, window_of(json, 4096));
  return config;
}

Config phi3(const ConfigJson& json) {
  Config config = common(
      json, {.vocab = 32064, .hidden = 3072, .ffn = 8192, .layers = 32, .heads = 32, .eps = 1e-5, .positions = 4096});
  config.tied_head = json.flag("tie_word_embeddings", false);
  config.ropes = {rope_of(json, config.head_dim, 10000.0, 1.0, {.partial = true, .longrope = true})};
  const decoder::RopeScaling scaling = config.ropes[0].scaling;
  if (scaling != decoder::RopeScaling::none && scaling != decoder::RopeScaling::longrope) {
    json.refuse("rope_scaling", "is not supported for phi3, but for longrope");
  }
  config.layers = same_layers(config.n_layers, window_of(json, 0));
  return config;
}

TensorNames phi3_names(const Config&) {
  TensorNames names = llama_names();
  names.qkv = {"self_attn.qkv_proj"};
  names.up = {"mlp.gate_up_proj"};
  return names;
}

Config olmo(const ConfigJson& json) {
  Config config = common(json, {.vocab = 50304, .hidden = 4096, .ffn = 11008, .layers = 32, .heads = 32});
  config.qkv_bias = config.output_bias = json.flag("attention_bias", false);
  config.tied_head = json.flag("tie_word_embeddings", false);
  if (json.given("clip_qkv")) config.clip_qkv = json.positive_real("clip_qkv", 0.0);
  config.norm = {.kind = decoder::NormKind::layer, .eps = 1e-5, .weight = false};
  rotary(json, config);
  return config;
}

Config olmo2(const ConfigJson& json) {
  Config config = common(json, {.vocab = 50304, .hidden = 4096, .ffn = 11008, .layers = 32, .heads = 32, .eps = 1e-5});
  config.qkv_bias = config.output_bias = json.flag("attention_bias", false);
  config.tied_head = json.flag("tie_word_embeddings", false);
  config.place = decoder::NormPlace::post_output;
  config.qk_norm = decoder::QkNorm::full_rms;
  rotary(json, config);
  return config;
}

TensorNames olmo2_names(const Config&) {
  TensorNames names = llama_names();
  names.attention_norm = "post_attention_layernorm";
  names.mlp_norm = "post_feedforward_layernorm";
  return names;
}

// Windows of Qwen's layers: by layer_types, or from max_window_layers on where they are switched on.
void qwen_windows(const ConfigJson& json, Config& config) {
  const std::int64_t window = json.flag("use_sliding_window", false) ? window_of(json, 4096) : 0;
  const std::int64_t first = json.natural("max_window_layers", 28);
  const auto types = sliding_by_type(json, config.n_layers);
  for (std::int64_t layer = 0; layer < config.n_layers; ++layer) {
    const auto at = static_cast<std::size_t>(layer);
    const bool slides = types ? (*types)[at] : window > 0 && layer >= first;
    if (slides && window == 0) json.refuse("layer_types", "has a sliding layer, and there is no sliding_window");
    config.layers[at].window = slides ? window : 0;
  }
}

Config qwen2(const ConfigJson& json) {
  Config config = common(
      json,
      {.vocab = 151936, .hidden = 4096, .ffn = 22016, .layers = 32, .heads = 32, .kv_heads = 32, .positions = 32768});
  config.qkv_bias = true;
  config.tied_head = json.flag("tie_word_embeddings", false);
  rotary(json, config);
  qwen_windows(json, config);
  return config;
}

Config qwen3(const ConfigJson& json) {
  Config config = common(json, {.vocab = 151936,
                                .hidden = 4096,
                                .ffn = 22016,
                                .layers = 32,
                                .heads = 32,
                                .kv_heads = 32,
                                .head_dim = 128,
                                .positions = 32768});
  config.qkv_bias = config.output_bias = json.flag("attention_bias", false);
  config.tied_head = json.flag("tie_word_embeddings", false);
  config.qk_norm = decoder::QkNorm::head_rms;
  rotary(json, config);
  qwen_windows(json, config);
  return config;
}

TensorNames plain_names(const Config&) {
  return llama_names();
}

}  // namespace

const std::vector<Family> kLlamaFamilies = {{"llama", llama, plain_names}, {"mistral", mistral, plain_names},
                                            {"phi3", phi3, phi3_names},    {"olmo", olmo, plain_names},
                                            {"olmo2", olmo2, olmo2_names}, {"qwen2", qwen2, plain_names},
                                            {"qwen3", qwen3, plain_names}};

}  // namespace headroom::huggingface
