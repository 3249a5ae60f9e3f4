// Which ids begin and end a text, put together from what a tokenizer's file and its companions say.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/tokenizer/companions.h"
#include "data/tokenizer/text_encoder.h"

namespace headroom {

// What goes around a text, and the ids that are named BOS and EOS.
struct SpecialIds {
  std::optional<std::int32_t> bos;
  std::optional<std::int32_t> eos;
  std::vector<std::int32_t> before;
  std::vector<std::int32_t> after;

  bool operator==(const SpecialIds&) const = default;
};

// What the tokenizer's own file says.
struct Conventions {
  std::optional<std::int32_t> bos;
  std::optional<std::int32_t> eos;
  std::optional<std::vector<std::int32_t>> before;  // of a post-processor that can put ids
  std::optional<std::vector<std::int32_t>> after;
  bool begins_with_bos = false;  // where nothing says otherwise
};

// The companions name BOS and EOS before the file does; what goes around a text is the file's to say first. A BOS that
// the companions name and the encoder lacks is none.
SpecialIds special_ids(const TextEncoder& encoder, const Conventions& own, const Companions& companions);

// Every difference makes another text.
std::string in_words(const SpecialIds& special);

// Throws ExitCode::bad_data when companions name a token that the model (a file without added tokens of its own) does
// not have under that id.
void refuse_tokens_beyond(const TextEncoder& encoder, const Companions& companions, const std::filesystem::path& model);

}  // namespace headroom
