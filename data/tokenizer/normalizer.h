// The normalizer of a tokenizer.json: what is done to a text before it is cut.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "data/tokenizer/json_node.h"

namespace headroom {

class Normalizer {
 public:
  Normalizer() = default;  // changes nothing
  // NFC, NFD, NFKC, NFKD, Replace, Prepend, Lowercase, Strip, ByteLevel and Sequence of them. Throws
  // ExitCode::bad_data naming the key for any other and for wrong settings.
  explicit Normalizer(const JsonNode& node);

  bool empty() const { return steps_.empty(); }
  // `text` is valid UTF-8 and stays it. Where it `continues` another, nothing is put in front.
  void apply(std::string& text, bool continues) const;

 private:
  using Step = std::function<void(std::string& text, bool continues)>;
  void add(const JsonNode& node);

  std::vector<Step> steps_;
};

}  // namespace headroom
