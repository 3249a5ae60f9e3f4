// Replace, which a tokenizer.json knows as a normalizer and as a decoder.
#pragma once

#include <optional>
#include <string>

#include "data/tokenizer/json_node.h"
#include "data/tokenizer/pattern.h"

namespace headroom {

class Replacement {
 public:
  // {"type": "Replace", "pattern": {"String" or "Regex": ...}, "content": ...}. Throws ExitCode::bad_data naming the
  // key.
  explicit Replacement(const JsonNode& node);

  // In valid UTF-8, which stays it.
  void apply(std::string& text) const;

 private:
  std::string literal_;           // what is replaced, where the pattern is a string
  std::optional<Pattern> regex_;  // and where it is a pattern
  std::string content_;
};

// The member "pattern" as Split has it: a string or an expression.
Pattern pattern_member(const JsonNode& node);

}  // namespace headroom
