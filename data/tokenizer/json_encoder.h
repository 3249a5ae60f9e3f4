// A tokenizer.json: the steps of the `tokenizers` library from text to ids and back.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/tokenizer/special_ids.h"
#include "data/tokenizer/text_encoder.h"

namespace headroom {

struct JsonTokenizer {
  std::unique_ptr<TextEncoder> encoder;
  Conventions said;  // by the post-processor; a single id before the text is its BOS
};

// `json` is what `file` holds, or says (data/tokenizer/vocab_and_merges.h). Throws ExitCode::bad_data naming file and
// key for what is missing, wrong or not supported.
JsonTokenizer read_tokenizer_json(const nlohmann::json& json, const std::filesystem::path& file);

}  // namespace headroom
