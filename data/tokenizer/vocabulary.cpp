#include "data/tokenizer/vocabulary.h"

#include <algorithm>

namespace headroom {

Vocabulary::Vocabulary(const JsonNode& node) {
  std::int32_t largest = -1;
  const nlohmann::json& object = node.object();
  const std::size_t count = object.size();
  if (count == 0) node.fail("no tokens");
  ids_.reserve(count);
  for (const auto& [token, value] : object.items()) {
    // A node of its own only where there is something to say: there are hundreds of thousands.
    const bool plain = value.is_number_unsigned() && value.get<std::uint64_t>() <= 0x7FFFFFFF;
    const std::int32_t id = plain ? value.get<std::int32_t>() : node.at(token).token_id();
    ids_.emplace(token, id);
    largest = std::max(largest, id);
  }
  if (static_cast<std::size_t>(largest) >= 2 * count + 256) {
    node.fail(fmt::format("{} tokens, but the largest id is {}: an id is out of proportion", count, largest));
  }
  tokens_.resize(static_cast<std::size_t>(largest) + 1, nullptr);
  for (const auto& [token, id] : ids_) {
    const std::string*& place = tokens_[static_cast<std::size_t>(id)];
    if (place != nullptr)
      node.fail(fmt::format("'{}' and '{}' are both id {}", std::min(*place, token), std::max(*place, token), id));
    place = &token;
  }
}

std::optional<std::int32_t> Vocabulary::id_of(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

bool Vocabulary::has(std::int32_t id) const {
  return id >= 0 && id < end() && tokens_[static_cast<std::size_t>(id)] != nullptr;
}

}  // namespace headroom
