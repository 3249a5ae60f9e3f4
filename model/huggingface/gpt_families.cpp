// Those with LayerNorm and a feed-forward that is not gated: GPT-2, OPT, Phi, Falcon.
#include <fmt/format.h>

#include <cmath>

#include "model/huggingface/family.h"

namespace headroom::huggingface {
namespace {

using decoder::Config;
using decoder::NormKind;

void heads_divide(const ConfigJson& json, const std::string& key, const Config& config) {
  if (config.hidden_size % config.n_heads == 0) return;
  json.refuse(key, fmt::format("{} heads do not divide a hidden size of {}", config.n_heads, config.hidden_size));
}

// A key or the name that older files have for it.
std::int64_t either(const ConfigJson& json, const char* key, const char* other, std::int64_t otherwise) {
  return json.positive(key, json.positive(other, otherwise));
}

// ---- GPT-2 ----

Config gpt2(const ConfigJson& json) {
  Config config;
  config.family = "gpt2";
  config.vocab_size = json.positive("vocab_size", 50257);
  config.hidden_size = config.embedding_size = either(json, "n_embd", "hidden_size", 768);
  config.n_layers = layer_count(json, json.has("n_layer") ? "n_layer" : "num_hidden_layers", 12);
  config.n_heads = config.n_kv_heads = either(json, "n_head", "num_attention_heads", 12);
  heads_divide(json, "n_head", config);
  config.head_dim = config.hidden_size / config.n_heads;
  config.ffn_size = json.positive("n_inner", 4 * config.hidden_size);
  config.max_positions = either(json, "n_positions", "max_position_embeddings", 1024);
  config.learned_positions = true;
  config.norm = {.kind = NormKind::layer, .eps = json.positive_real("layer_norm_epsilon", 1e-5), .bias = true};
  config.qkv_bias = config.output_bias = config.mlp_bias = true;
  config.activation = activation_of(json, "activation_function", "gelu_new");
  config.gated = false;
  config.tied_head = json.flag("tie_word_embeddings", true);
  json.expect_flag("add_cross_attention", false, false);
  const bool scaled = json.flag("scale_attn_weights", true);
  const bool by_layer = json.flag("scale_attn_by_inverse_layer_idx", false);
  for (std::int64_t layer = 0; layer < config.n_layers; ++layer) {
    const double scale = scaled ? 1.0 / std::sqrt(static_cast<double>(config.head_dim)) : 1.0;
    config.layers.push_back({0, -1, by_layer ? scale / static_cast<double>(layer + 1) : scaled ? 0.0 : scale});
  }
  return config;
}

TensorNames gpt2_names(const Config&) {
  TensorNames names;
  names.prefixes = {"transformer.", ""};
  names.embedding = "wte";
  names.positions = "wpe";
  names.final_norm = "ln_f";
  names.layer = "h.{}.";
  names.qkv = {"attn.c_attn"};
  names.output = "attn.c_proj";
  names.up = {"mlp.c_fc"};
  names.down = "mlp.c_proj";
  names.attention_norm = "ln_1";
  names.mlp_norm = "ln_2";
  names.transposed = true;
  return names;
}

// ---- OPT ----

Config opt(const ConfigJson& json) {
  Config config;
  config.family = "opt";
  config.vocab_size = json.positive("vocab_size", 50272);
  config.hidden_size = json.positive("hidden_size", 768);
  config.embedding_size = json.positive("word_embed_proj_dim", config.hidden_size);
  config.n_layers = layer_count(json, "num_hidden_layers", 12);
  config.n_heads = config.n_kv_heads = json.positive("num_attention_heads", 12);
  heads_divide(json, "num_attention_heads", config);
  config.head_dim = config.hidden_size / config.n_heads;
  config.ffn_size = json.positive("ffn_dim", 3072);
  config.max_positions = json.positive("max_position_embeddings", 2048);
  config.learned_positions = true;
  config.position_offset = 2;  // the first rows of the table are no position's
  const bool norm_weights = json.flag("layer_norm_elementwise_affine", true);
  config.norm = {.kind = NormKind::layer, .eps = 1e-5, .weight = norm_weights, .bias = norm_weights};
  const bool before = json.flag("do_layer_norm_before", true);
  config.place = before ? decoder::NormPlace::pre : decoder::NormPlace::post_sum;
  config.final_norm = before && !json.flag("_remove_final_layer_norm", false);
  config.qkv_bias = config.output_bias = config.mlp_bias = json.flag("enable_bias", true);
  config.activation = activation_of(json, "activation_function", "relu");
  config.gated = false;
  config.tied_head = json.flag("tie_word_embeddings", true);
  config.layers.assign(static_cast<std::size_t>(config.n_layers), {0, -1, 0.0});
  return config;
}

TensorNames opt_names(const Config&) {
  TensorNames names;
  names.prefixes = {"model.decoder.", "decoder.", ""};
  names.embedding = "embed_tokens";
  names.positions = "embed_positions";
  names.project_in = "project_in";
  names.project_out = "project_out";
  names.final_norm = "final_layer_norm";
  names.layer = "layers.{}.";
  names.qkv = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
  names.output = "self_attn.out_proj";
  names.up = {"fc1"};
  names.down = "fc2";
  names.attention_norm = "self_attn_layer_norm";
  names.mlp_norm = "final_layer_norm";
  return names;
}

// ---- Phi ----

Config phi(const ConfigJson& json) {
  Config config;
  config.family = "phi";
  config.vocab_size = json.positive("vocab_size", 51200);
  config.hidden_size = config.embedding_size = json.positive("hidden_size", 2048);
  config.ffn_size = json.positive("intermediate_size", 8192);
  config.n_layers = layer_count(json, "num_hidden_layers", 24);
  config.n_heads = json.positive("num_attention_heads", 32);
  heads_divide(json, "num_attention_heads", config);
  config.n_kv_heads = json.positive("num_key_value_heads", config.n_heads);
  config.head_dim = json.positive("head_dim", config.hidden_size / config.n_heads);
  config.max_positions = json.positive("max_position_embeddings", 2048);
  config.norm = {.kind = NormKind::layer, .eps = json.positive_real("layer_norm_eps", 1e-5), .bias = true};
  config.parallel = decoder::Parallel::one_norm;
  config.qkv_bias = config.output_bias = config.mlp_bias = true;
  config.qk_norm = json.flag("qk_layernorm", false) ? decoder::QkNorm::head_layer : decoder::QkNorm::none;
  config.activation = activation_of(json, "hidden_act", "gelu_new");
  config.gated = false;
  config.tied_head = json.flag("tie_word_embeddings", false);
  config.head_bias = true;
  config.ropes = {rope_of(json, config.head_dim, 10000.0, 0.5, {.partial = true})};
  config.layers = same_layers(config.n_layers, 0);
  return config;
}

TensorNames phi_names(const Config&) {
  TensorNames names;
  names.prefixes = {"model.", ""};
  names.embedding = "embed_tokens";
  names.final_norm = "final_layernorm";
  names.layer = "layers.{}.";
  names.qkv = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
  names.output = "self_attn.dense";
  names.up = {"mlp.fc1"};
  names.down = "mlp.fc2";
  names.attention_norm = "input_layernorm";
  names.q_norm = "self_attn.q_layernorm";
  names.k_norm = "self_attn.k_layernorm";
  return names;
}

// ---- Falcon ----

Config falcon(const ConfigJson& json) {
  Config config;
  config.family = "falcon";
  config.vocab_size = json.positive("vocab_size", 65024);
  config.hidden_size = config.embedding_size = json.positive("n_embed", json.positive("hidden_size", 4544));
  config.n_layers = layer_count(json, "num_hidden_layers", 32);
  config.n_heads = json.positive("num_attention_heads", 71);
  heads_divide(json, "num_attention_heads", config);
  config.head_dim = config.hidden_size / config.n_heads;
  config.ffn_size = json.positive("ffn_hidden_size", 4 * config.hidden_size);
  config.max_positions = json.positive("max_position_embeddings", 2048);
  json.expect_flag("alibi", false, false);
  const bool newer = json.flag("new_decoder_architecture", false);
  const bool parallel = json.flag("parallel_attn", true);
  const std::int64_t norms = json.positive("num_ln_in_parallel_attn", newer ? 2 : 1);
  if (newer && !parallel) json.refuse("parallel_attn", "false is not supported with new_decoder_architecture");
  if (norms > 2 || (norms == 2 && parallel && !newer)) json.refuse("num_ln_in_parallel_attn", "is not supported");
  config.parallel = !parallel    ? decoder::Parallel::no
                    : norms == 2 ? decoder::Parallel::two_norms
                                 : decoder::Parallel::one_norm;
  config.n_kv_heads = newer                            ? json.positive("num_kv_heads", config.n_heads)
                      : json.flag("multi_query", true) ? 1
                                                       : config.n_heads;
  config.norm = {.kind = NormKind::layer, .eps = json.positive_real("layer_norm_epsilon", 1e-5), .bias = true};
  config.qkv_bias = config.output_bias = config.mlp_bias = json.flag("bias", false);
  config.activation = activation_of(json, "activation", "gelu");
  config.gated = false;
  config.tied_head = json.flag("tie_word_embeddings", true);
  config.ropes = {rope_of(json, config.head_dim, 10000.0, 1.0, {})};
  config.layers = same_layers(config.n_layers, 0);
  return config;
}

TensorNames falcon_names(const Config& config) {
  TensorNames names;
  names.prefixes = {"transformer.", ""};
  names.embedding = "word_embeddings";
  names.final_norm = "ln_f";
  names.layer = "h.{}.";
  names.qkv = {"self_attention.query_key_value"};
  names.qkv_by_group = true;  // with one key-value head the same as all queries, the key, the value
  names.output = "self_attention.dense";
  names.up = {"mlp.dense_h_to_4h"};
  names.down = "mlp.dense_4h_to_h";
  const bool two = config.parallel == decoder::Parallel::two_norms;
  names.attention_norm = two ? "ln_attn" : "input_layernorm";
  names.mlp_norm = two ? "ln_mlp" : "post_attention_layernorm";
  return names;
}

}  // namespace

const std::vector<Family> kGptFamilies = {
    {"gpt2", gpt2, gpt2_names}, {"opt", opt, opt_names}, {"phi", phi, phi_names}, {"falcon", falcon, falcon_names}};

}  // namespace headroom::huggingface
