// Blanks as a visible character, SentencePiece's U+2581: as a pre-tokenizer and as a decoder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/tokenizer/json_node.h"
#include "data/tokenizer/pieces.h"

namespace headroom {

class Metaspace {
 public:
  // {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first" | "always" | "never", "split": bool}; older
  // files say "add_prefix_space". Throws ExitCode::bad_data naming the key.
  explicit Metaspace(const JsonNode& node);

  void pre_tokenize(Pieces& pieces) const;
  // Makes blanks of the tokens' replacement characters; those of the first token go away, unless nothing was prepended.
  void decode(std::vector<std::string>& tokens) const;

 private:
  enum class Prepend : std::uint8_t { first, always, never };

  std::string replacement_;
  Prepend prepend_ = Prepend::always;
  bool split_ = true;
};

}  // namespace headroom
