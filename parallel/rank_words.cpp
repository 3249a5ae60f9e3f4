#include "parallel/rank_words.h"

#include <algorithm>

namespace headroom {
namespace {

constexpr char kEndOfWord = '\n';
constexpr char kEndOfRank = '\0';

std::string packed(const std::vector<std::string>& words) {
  std::string text;
  for (std::string word : words) {
    std::replace(word.begin(), word.end(), kEndOfWord, ' ');
    text += word + kEndOfWord;
  }
  return text + kEndOfRank;
}

std::vector<std::vector<std::string>> unpacked(const std::vector<std::byte>& text) {
  std::vector<std::vector<std::string>> ranks(1);
  std::string word;
  for (const std::byte byte : text) {
    const char letter = static_cast<char>(byte);
    if (letter == kEndOfWord) {
      ranks.back().push_back(std::move(word));
      word.clear();
    } else if (letter == kEndOfRank) {
      ranks.emplace_back();
    } else {
      word += letter;
    }
  }
  ranks.pop_back();
  return ranks;
}

}  // namespace

std::vector<std::vector<std::string>> gather_words(Communicator& group, const std::vector<std::string>& words) {
  const std::string own = packed(words);
  std::vector<std::byte> all;
  for (const auto& message : group.gather_bytes(std::as_bytes(std::span<const char>(own)), 0)) {
    all.insert(all.end(), message.begin(), message.end());
  }
  return unpacked(group.broadcast_bytes(all, 0));
}

}  // namespace headroom
