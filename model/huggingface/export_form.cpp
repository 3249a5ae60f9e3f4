#include "model/huggingface/export_form.h"

#include <vector>

#include "base/error.h"

namespace headroom::huggingface {
namespace {

using decoder::Activation;
using decoder::Config;
using decoder::KvBias;
using decoder::NormKind;
using decoder::QkNorm;
using Json = nlohmann::ordered_json;

const char* activation_name(const Config& config) {
  switch (config.activation) {
    case Activation::silu:
      return "silu";
    case Activation::gelu:
      return "gelu";
    case Activation::gelu_tanh:
      return "gelu_new";
    case Activation::relu:
      break;
  }
  return "relu";
}

// What keeps a model from being LLaMA or Qwen3, the first thing that does; null: nothing.
const char* not_llama(const Config& config) {
  if (config.norm.kind != NormKind::rms) return "its norm is not RMSNorm";
  if (config.learned_positions) return "its positions are learned";
  if (!config.gated) return "its feed-forward is not gated";
  if (config.qk_norm != QkNorm::none && config.mlp_bias) return "QK norm together with biases";
  if (config.qk_norm == QkNorm::none && config.hidden_size % config.n_heads != 0) {
    return "its heads do not divide the hidden size";
  }
  return nullptr;
}

const char* not_gpt2(const Config& config) {
  if (config.norm.kind != NormKind::layer) return "its norm is not LayerNorm";
  if (!config.learned_positions) return "its positions are rotary";
  if (config.gated) return "its feed-forward is gated";
  if (config.qk_norm != QkNorm::none) return "it has QK norm";
  if (config.n_kv_heads != config.n_heads) return "it has fewer key-value heads";
  if (config.query_width() != config.hidden_size) return "its heads are not hidden_size / n_heads wide";
  return nullptr;
}

Json llama_config(const Config& config) {
  Json json = {{"hidden_size", config.hidden_size},
               {"intermediate_size", config.ffn_size},
               {"num_hidden_layers", config.n_layers},
               {"num_attention_heads", config.n_heads},
               {"num_key_value_heads", config.n_kv_heads},
               {"head_dim", config.head_dim},
               {"max_position_embeddings", config.max_positions},
               {"rms_norm_eps", config.norm.eps},
               {"hidden_act", activation_name(config)},
               {"attention_bias", config.qkv_bias},
               // Both forms of the key: the first is read by every version, the second by new ones.
               {"rope_theta", config.ropes[0].theta},
               {"rope_parameters", {{"rope_type", "default"}, {"rope_theta", config.ropes[0].theta}}},
               {"attention_dropout", 0.0}};
  if (config.qk_norm == QkNorm::none) {
    json["mlp_bias"] = config.mlp_bias;
    json["pretraining_tp"] = 1;
  } else {
    json["use_sliding_window"] = false;
    json["sliding_window"] = nullptr;
    json["max_window_layers"] = config.n_layers;
  }
  return json;
}

Json gpt2_config(const Config& config) {
  return {{"n_embd", config.hidden_size},
          {"n_inner", config.ffn_size},
          {"n_layer", config.n_layers},
          {"n_head", config.n_heads},
          {"n_positions", config.max_positions},
          {"layer_norm_epsilon", config.norm.eps},
          {"activation_function", activation_name(config)},
          {"attn_pdrop", 0.0},
          {"embd_pdrop", 0.0},
          {"resid_pdrop", 0.0}};
}

Json own_config(const Config& config) {
  const char* const norm = config.norm.kind == NormKind::rms     ? "rms"
                           : config.norm.kind == NormKind::layer ? "layer"
                                                                 : "dyt";
  const char* const bias = config.kv_bias == KvBias::none ? "none" : config.kv_bias == KvBias::kv ? "kv" : "k";
  const char* const activation = config.gated                                 ? "swiglu"
                                 : config.activation == Activation::gelu      ? "gelu"
                                 : config.activation == Activation::gelu_tanh ? "gelu_tanh"
                                                                              : "relu";
  return {{"auto_map",
           {{"AutoConfig", "configuration_headroom.HeadroomConfig"},
            {"AutoModel", "modeling_headroom.HeadroomModel"},
            {"AutoModelForCausalLM", "modeling_headroom.HeadroomForCausalLM"}}},
          {"hidden_size", config.hidden_size},
          {"intermediate_size", config.ffn_size},
          {"num_hidden_layers", config.n_layers},
          {"num_attention_heads", config.n_heads},
          {"num_key_value_heads", config.n_kv_heads},
          {"head_dim", config.head_dim},
          {"max_position_embeddings", config.max_positions},
          {"norm", norm},
          {"norm_eps", config.norm.eps},
          {"norm_bias", config.norm.bias},
          {"activation", activation},
          {"positions", config.learned_positions ? "learned" : "rotary"},
          {"rope_theta", config.learned_positions ? 10000.0 : config.ropes[0].theta},
          {"bias", config.qkv_bias},
          {"qk_norm", config.qk_norm != QkNorm::none},
          {"embedding_scale", config.embedding_scale},
          {"kv_bias", bias}};
}

}  // namespace

ExportForm export_form(const Config& config) {
  HEADROOM_CHECK(config.family == "headroom", "a model of {} is exported already", config.family);
  ExportForm form{"headroom", config, ""};
  if (config.kv_bias != KvBias::none) {
    form.reason = "it has a KV bias";
  } else if (config.norm.kind == NormKind::dyt) {
    form.reason = "it has Dynamic Tanh";
  } else if (config.embedding_scale) {
    form.reason = "it has a learned scale of the embedding";
  } else if (not_llama(config) == nullptr) {
    form.model_type = config.qk_norm == QkNorm::none ? "llama" : "qwen3";
  } else if (not_gpt2(config) == nullptr) {
    form.model_type = "gpt2";
    form.config.norm.bias = true;
    form.config.qkv_bias = form.config.output_bias = form.config.mlp_bias = true;
  } else {
    form.reason = fmt::format("no LLaMA: {}; no GPT-2: {}", not_llama(config), not_gpt2(config));
  }
  return form;
}

Json export_config(const ExportForm& form, StoredType type, std::optional<std::int32_t> bos) {
  const Config& config = form.config;
  const bool gpt2 = form.model_type == "gpt2";
  const char* const architecture = gpt2                         ? "GPT2LMHeadModel"
                                   : form.model_type == "llama" ? "LlamaForCausalLM"
                                   : form.own_code()            ? "HeadroomForCausalLM"
                                                                : "Qwen3ForCausalLM";
  const char* const dtype = type == StoredType::f32 ? "float32" : type == StoredType::f16 ? "float16" : "bfloat16";
  Json json = {{"model_type", form.model_type}, {"architectures", {architecture}}};
  json.update(gpt2 ? gpt2_config(config) : form.own_code() ? own_config(config) : llama_config(config));
  json["vocab_size"] = config.vocab_size;
  json["tie_word_embeddings"] = config.tied_head;
  json["bos_token_id"] = bos ? Json(*bos) : Json(nullptr);
  json["eos_token_id"] = json["bos_token_id"];
  json["torch_dtype"] = dtype;
  json["use_cache"] = true;
  return json;
}

}  // namespace headroom::huggingface
