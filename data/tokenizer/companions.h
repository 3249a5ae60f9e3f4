// What lies beside a tokenizer in a Hugging Face directory and says which of its tokens begin and end a text:
// tokenizer_config.json, special_tokens_map.json, added_tokens.json and, of the model's own config.json, bos_token_id
// and eos_token_id.
//
// Where two speak of the same thing, the first of this list counts; null is an answer, too: "bos_token": null says that
// there is none, and then config.json is not asked.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace headroom {

// A token that a companion names, with what is said of it.
struct NamedToken {
  std::string content;
  std::optional<std::int32_t> id;
  bool single_word = false;
  bool lstrip = false;
  bool rstrip = false;
  bool normalized = false;

  bool operator==(const NamedToken&) const = default;
};

struct Companions {
  std::optional<std::string> bos;  // the tokens' texts
  std::optional<std::string> eos;
  std::optional<std::string> unk;
  bool says_bos = false;  // that there is one, or none
  bool says_eos = false;
  std::optional<std::int32_t> bos_id;  // of config.json
  std::optional<std::int32_t> eos_id;
  std::optional<bool> add_bos;
  std::optional<bool> add_eos;
  bool add_prefix_space = false;
  std::vector<NamedToken> tokens;            // each once
  std::vector<std::filesystem::path> files;  // those that were there
};

// Throws ExitCode::bad_data naming file and key for what is no JSON or of the wrong type.
Companions read_companions(const std::filesystem::path& directory);

}  // namespace headroom
