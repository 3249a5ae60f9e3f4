// The ids of short words that a thread has met lately: text repeats its words, and looking one up costs a tenth of
// merging it. Each thread has one table of 2 MiB, shared by all tokenizers; a word's place is its hash's, and a
// newcomer takes it over.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace headroom {

class WordCache {
 public:
  static constexpr std::size_t kLongestWord = 26;  // bytes
  static constexpr std::size_t kMostIds = 8;

  // This thread's. `owner` tells tokenizers apart, and is not 0.
  static WordCache& of_this_thread();

  // What `keep` was given for the word, or nothing: words that have no ids are not kept.
  std::span<const std::int32_t> find(std::uint32_t owner, std::string_view word) const;
  // Longer words, and those of no or more ids, are not kept.
  void keep(std::uint32_t owner, std::string_view word, std::span<const std::int32_t> ids);

 private:
  struct Entry {  // a cache line
    std::uint32_t owner = 0;
    std::uint8_t bytes = 0;
    std::uint8_t count = 0;
    std::array<char, kLongestWord> word{};
    std::array<std::int32_t, kMostIds> ids{};
  };
  static_assert(sizeof(Entry) == 64);
  static constexpr std::size_t kEntries = std::size_t{1} << 15;

  static std::size_t place_of(std::uint32_t owner, std::string_view word);

  std::vector<Entry> entries_ = std::vector<Entry>(kEntries);
};

}  // namespace headroom
