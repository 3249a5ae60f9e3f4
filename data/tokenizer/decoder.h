// The decoder of a tokenizer.json: tokens to text.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "data/tokenizer/json_node.h"

namespace headroom {

class Decoder {
 public:
  Decoder() = default;  // tokens with blanks between them, as the `tokenizers` library does it
  // ByteLevel, Metaspace, Replace, ByteFallback, Fuse, Strip and Sequence of them. Throws ExitCode::bad_data naming the
  // key for any other and for wrong settings.
  explicit Decoder(const JsonNode& node);

  // Tokens are valid UTF-8, and so is the text: bytes that are none become U+FFFD.
  std::string decode(std::vector<std::string> tokens) const;

 private:
  void add(const JsonNode& node);
  void add_strip(const JsonNode& node);

  std::vector<std::function<void(std::vector<std::string>& tokens)>> steps_;
  bool none_ = true;
};

}  // namespace headroom
