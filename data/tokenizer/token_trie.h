// Finds which of many texts stand in another: at each place the longest, from left to right, none in another.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

namespace headroom {

class TokenTrie {
 public:
  struct Found {
    std::size_t begin;
    std::size_t end;
    std::int32_t value;
  };

  TokenTrie();
  // `text` must not be empty, `value` not negative. False when the text is in it already.
  bool add(std::string_view text, std::int32_t value);
  bool empty() const { return nodes_.size() == 1; }
  std::size_t nodes() const { return nodes_.size(); }

  // The first text at or behind `from`; a `value` of -1 when there is none.
  Found find(std::string_view text, std::size_t from) const;

 private:
  struct Node {
    std::int32_t value = -1;
    std::map<unsigned char, std::uint32_t> next;
  };

  std::vector<Node> nodes_;
  std::array<std::uint32_t, 256> first_{};  // the root's: most places of a text end here
};

}  // namespace headroom
