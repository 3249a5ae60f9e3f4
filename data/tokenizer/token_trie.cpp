#include "data/tokenizer/token_trie.h"

namespace headroom {

TokenTrie::TokenTrie() : nodes_(1) {}

bool TokenTrie::add(std::string_view text, std::int32_t value) {
  std::uint32_t node = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const auto found = nodes_[node].next.find(byte);
    if (found != nodes_[node].next.end()) {
      node = found->second;
      continue;
    }
    const auto made = static_cast<std::uint32_t>(nodes_.size());
    nodes_[node].next.emplace(byte, made);
    if (node == 0) first_[byte] = made;
    nodes_.emplace_back();
    node = made;
  }
  if (nodes_[node].value >= 0) return false;
  nodes_[node].value = value;
  return true;
}

TokenTrie::Found TokenTrie::find(std::string_view text, std::size_t from) const {
  for (std::size_t begin = from; begin < text.size(); ++begin) {
    std::uint32_t node = first_[static_cast<unsigned char>(text[begin])];
    if (node == 0) continue;
    Found longest{begin, begin, -1};
    for (std::size_t at = begin + 1;; ++at) {
      if (nodes_[node].value >= 0) longest = {begin, at, nodes_[node].value};
      if (at == text.size()) break;
      const auto next = nodes_[node].next.find(static_cast<unsigned char>(text[at]));
      if (next == nodes_[node].next.end()) break;
      node = next->second;
    }
    if (longest.value >= 0) return longest;
  }
  return {text.size(), text.size(), -1};
}

}  // namespace headroom
