// What a model of ours is called in transformers' terms: the published architecture that has all of its switches, or
// our own, whose code lies beside the weights.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "model/decoder/config.h"
#include "model/huggingface/safetensors.h"

namespace headroom::huggingface {

struct ExportForm {
  std::string model_type;  // llama, qwen3, gpt2 or headroom
  // The model as that architecture is read back: GPT-2 has biases everywhere, which are 0 where the model has none.
  decoder::Config config;
  // Why no published architecture fits: "it has Dynamic Tanh"; empty where one does.
  std::string reason;

  bool own_code() const { return model_type == "headroom"; }
};

// `config` is of a model of ours (trainer/decoder_checkpoint.h).
ExportForm export_form(const decoder::Config& config);

// Its config.json. `type` of the weights; `bos`: the token that begins a document, where it is known, which is also
// what ends the one before it.
nlohmann::ordered_json export_config(const ExportForm& form, StoredType type, std::optional<std::int32_t> bos);

}  // namespace headroom::huggingface
