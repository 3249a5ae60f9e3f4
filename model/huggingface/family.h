// The families of checkpoints that are read: for each, what its config.json means and what its tensors are called.
// Sources: transformers' modeling files of the families' names; absent keys have the defaults that it gives them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/decoder/config.h"
#include "model/huggingface/config_json.h"

namespace headroom::huggingface {

// Where each weight lies. A name stands for NAME.weight and, where the config has one, NAME.bias.
struct TensorNames {
  std::vector<std::string> prefixes;  // what may be before every name, ours first: "transformer." or nothing
  std::string embedding;
  std::string positions;
  std::string project_in, project_out;
  std::string final_norm;
  std::vector<std::string> heads = {"lm_head"};  // its names, ours first; no prefix is before them

  std::string layer;             // "layers.{}.", before the names that follow
  std::vector<std::string> qkv;  // one tensor of all, or those of q, k and v
  bool qkv_by_group = false;     // one tensor, rows by key-value head: its query heads, its key, its value
  std::string output;
  std::vector<std::string> up;  // where gated: one tensor with the gate's rows first, or those of gate and up
  std::string down;
  std::string attention_norm, attention_output_norm, mlp_norm, mlp_output_norm, q_norm, k_norm;
  // Whole names, of our own form.
  std::string embedding_scale = {};
  std::string bias_key = {}, bias_value = {};  // behind `layer`
  bool transposed = false;                     // products' weights are [in, out]
};

struct Family {
  const char* model_type;
  decoder::Config (*config)(const ConfigJson& json);
  TensorNames (*names)(const decoder::Config& config);
};

// By config.json's model_type. Throws ExitCode::bad_checkpoint naming the families that there are.
const Family& family_of(const ConfigJson& json);
// By name; null where there is none.
const Family* find_family(std::string_view model_type);

extern const std::vector<Family> kLlamaFamilies;  // llama, mistral, phi3, olmo, olmo2, qwen2, qwen3
extern const std::vector<Family> kGemmaFamilies;  // gemma, gemma2, gemma3_text, gemma3
extern const std::vector<Family> kGptFamilies;    // gpt2, opt, phi, falcon
extern const std::vector<Family> kOwnFamilies;    // headroom

// ---- what families share ----
decoder::Activation activation_of(const ConfigJson& json, const std::string& key, const std::string& otherwise);

// What of them a family's own code reads: a part of the head that is rotated without other scaling; longrope.
struct RopeKeys {
  bool partial = false;
  bool longrope = false;
};

// The rotary angles under the config's old keys (rope_theta, rope_scaling, partial_rotary_factor) or its new ones
// (rope_parameters). `dims` of a head where nothing is said of a part of it; `partial`: the family's own factor.
decoder::Rope rope_of(const ConfigJson& json, std::int64_t head_dim, double theta, double partial,
                      const RopeKeys& reads);

// Of one table of the new keys; what it lacks comes from `top`.
decoder::Rope rope_of_table(const ConfigJson& table, const ConfigJson& top, std::int64_t head_dim, double theta,
                            double partial, const RopeKeys& reads);

// The names that LLaMA's files have, and most others.
TensorNames llama_names();

// How many layers, of which each costs memory before any weight is seen.
std::int64_t layer_count(const ConfigJson& json, const std::string& key, std::int64_t otherwise);

// Which layers have a sliding window, by layer_types; nullopt where that is not given. Kinds of layers other than
// sliding_attention and full_attention are refused.
std::optional<std::vector<bool>> sliding_by_type(const ConfigJson& json, std::int64_t layers);

// Layers of one kind: the same window (0: none) and the first of the angles everywhere.
std::vector<decoder::LayerKind> same_layers(std::int64_t count, std::int64_t window);

}  // namespace headroom::huggingface
