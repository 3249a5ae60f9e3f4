// The pre-tokenizer of a tokenizer.json: where a text is cut before the model sees it.
#pragma once

#include <functional>
#include <vector>

#include "data/tokenizer/json_node.h"
#include "data/tokenizer/pieces.h"

namespace headroom {

class PreTokenizer {
 public:
  PreTokenizer() = default;  // cuts nowhere
  // ByteLevel, Split, Digits, Punctuation, Metaspace, Whitespace, WhitespaceSplit and Sequence of them. Throws
  // ExitCode::bad_data naming the key for any other and for wrong settings.
  explicit PreTokenizer(const JsonNode& node);

  void apply(Pieces& pieces) const;
  // Whether the pieces' characters stand for bytes (data/tokenizer/byte_level.h).
  bool byte_level() const { return byte_level_; }

 private:
  void add(const JsonNode& node);
  void add_byte_level(const JsonNode& node);
  void add_split(const JsonNode& node);

  std::vector<std::function<void(Pieces& pieces)>> steps_;
  bool byte_level_ = false;
};

}  // namespace headroom
