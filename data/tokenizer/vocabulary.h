// The tokens of a tokenizer.json's model by their text and by their id.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/tokenizer/json_node.h"

namespace headroom {

class Vocabulary {
 public:
  // An object of tokens and their ids. Ids may leave holes, but no more of them than there are tokens. Throws
  // ExitCode::bad_data naming the key: nothing in it, an id that is none, that two tokens have, or that is out of
  // proportion.
  explicit Vocabulary(const JsonNode& node);

  std::size_t size() const { return ids_.size(); }                                // tokens
  std::int32_t end() const { return static_cast<std::int32_t>(tokens_.size()); }  // one more than the largest id
  std::optional<std::int32_t> id_of(std::string_view token) const;
  bool has(std::int32_t id) const;
  const std::string& token(std::int32_t id) const { return *tokens_[static_cast<std::size_t>(id)]; }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>> ids_;
  std::vector<const std::string*> tokens_;  // by id, keys of ids_; null in a hole
};

}  // namespace headroom
