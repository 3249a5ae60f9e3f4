// Which pairs of tokens a BPE model merges, in which order, and into what.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace headroom {

struct Merge {
  std::uint32_t rank;  // smaller goes first
  std::int32_t into;
};

// Open addressing over one array: a lookup is one or two cache lines, and encoding is mostly lookups.
class MergeTable {
 public:
  explicit MergeTable(std::size_t merges) {
    std::size_t capacity = 16;
    while (capacity < 2 * merges) capacity *= 2;
    slots_.resize(capacity, {kEmpty, {}});
    mask_ = capacity - 1;
  }

  // Of a pair that is put twice, the later one counts, as in the `tokenizers` library. At most as many as announced.
  void put(std::int32_t left, std::int32_t right, Merge merge) {
    const std::uint64_t key = key_of(left, right);
    std::size_t at = place_of(key);
    while (slots_[at].key != kEmpty && slots_[at].key != key) at = (at + 1) & mask_;
    slots_[at] = {key, merge};
  }

  // Null where the pair is not merged.
  const Merge* find(std::int32_t left, std::int32_t right) const {
    const std::uint64_t key = key_of(left, right);
    for (std::size_t at = place_of(key); slots_[at].key != kEmpty; at = (at + 1) & mask_) {
      if (slots_[at].key == key) return &slots_[at].merge;
    }
    return nullptr;
  }

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};  // ids have 31 bits
  struct Slot {
    std::uint64_t key;
    Merge merge;
  };

  static std::uint64_t key_of(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
  }
  std::size_t place_of(std::uint64_t key) const {
    key *= 0x9E3779B97F4A7C15u;  // Fibonacci hashing; the high bits are the mixed ones
    return static_cast<std::size_t>(key >> 32 ^ key >> 15) & mask_;
  }

  std::vector<Slot> slots_;
  std::size_t mask_ = 0;
};

}  // namespace headroom
