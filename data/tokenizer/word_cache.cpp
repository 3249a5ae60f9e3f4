#include "data/tokenizer/word_cache.h"

#include <xxhash.h>

#include <algorithm>

namespace headroom {

WordCache& WordCache::of_this_thread() {
  thread_local WordCache cache;
  return cache;
}

std::size_t WordCache::place_of(std::uint32_t owner, std::string_view word) {
  return XXH3_64bits_withSeed(word.data(), word.size(), owner) % kEntries;
}

std::span<const std::int32_t> WordCache::find(std::uint32_t owner, std::string_view word) const {
  if (word.size() > kLongestWord) return {};
  const Entry& entry = entries_[place_of(owner, word)];
  if (entry.owner != owner || std::string_view(entry.word.data(), entry.bytes) != word) return {};
  return {entry.ids.data(), entry.count};
}

void WordCache::keep(std::uint32_t owner, std::string_view word, std::span<const std::int32_t> ids) {
  if (word.size() > kLongestWord || ids.empty() || ids.size() > kMostIds) return;
  Entry& entry = entries_[place_of(owner, word)];
  entry.owner = owner;
  entry.bytes = static_cast<std::uint8_t>(word.size());
  entry.count = static_cast<std::uint8_t>(ids.size());
  std::copy(word.begin(), word.end(), entry.word.begin());
  std::copy(ids.begin(), ids.end(), entry.ids.begin());
}

}  // namespace headroom
