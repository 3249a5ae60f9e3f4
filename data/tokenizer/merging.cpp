#include "data/tokenizer/merging.h"

#include <algorithm>
#include <cstddef>

namespace headroom {
namespace {

constexpr std::size_t kScannedUpTo = 48;  // symbols
constexpr std::uint32_t kNever = 0xFFFFFFFF;

// Looks at all pairs for each merge.
void merge_by_scanning(const MergeTable& merges, std::vector<std::int32_t>& symbols) {
  struct Pair {
    std::uint32_t rank;
    std::int32_t into;
  };
  Pair pairs[kScannedUpTo];  // of each symbol and the next
  std::size_t count = symbols.size();
  const auto look_up = [&](std::size_t at) {
    const Merge* merge = merges.find(symbols[at], symbols[at + 1]);
    pairs[at] = merge == nullptr ? Pair{kNever, 0} : Pair{merge->rank, merge->into};
  };
  for (std::size_t i = 0; i + 1 < count; ++i) look_up(i);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i) {
      if (pairs[i].rank < pairs[best].rank) best = i;
    }
    if (pairs[best].rank == kNever) break;
    symbols[best] = pairs[best].into;
    --count;
    for (std::size_t i = best + 1; i < count; ++i) {
      symbols[i] = symbols[i + 1];
      pairs[i] = pairs[i + 1];
    }
    if (best > 0) look_up(best - 1);
    if (best + 1 < count) look_up(best);
  }
  symbols.resize(count);
}

// Keeps the pairs in a heap, the symbols in a list.
class HeapMerger {
 public:
  HeapMerger(const MergeTable& merges, std::vector<std::int32_t>& symbols) : merges_(merges), symbols_(symbols) {}

  void run() {
    const auto count = static_cast<std::int32_t>(symbols_.size());
    links_.resize(symbols_.size());
    for (std::int32_t i = 0; i < count; ++i) links_[place(i)] = {i - 1, i + 1 < count ? i + 1 : kNone};
    for (std::int32_t i = 0; i + 1 < count; ++i) offer(i, /*sorted=*/false);
    std::make_heap(heap_.begin(), heap_.end(), later);
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), later);
      const Candidate next = heap_.back();
      heap_.pop_back();
      merge(next);
    }
    std::size_t kept = 0;
    for (std::int32_t i = 0; i != kNone; i = links_[place(i)].next) symbols_[kept++] = symbols_[place(i)];
    symbols_.resize(kept);
  }

 private:
  static constexpr std::int32_t kNone = -1;
  static constexpr std::int32_t kMerged = -1;  // in place of a symbol that has gone into the one before it
  struct Link {
    std::int32_t previous;
    std::int32_t next;
  };
  struct Candidate {
    std::uint32_t rank;
    std::int32_t position;
    std::int32_t into;
  };

  static std::size_t place(std::int32_t position) { return static_cast<std::size_t>(position); }
  static bool later(const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  }

  void offer(std::int32_t position, bool sorted) {
    const std::int32_t next = links_[place(position)].next;
    const Merge* merge = merges_.find(symbols_[place(position)], symbols_[place(next)]);
    if (merge == nullptr) return;
    heap_.push_back({merge->rank, position, merge->into});
    if (sorted) std::push_heap(heap_.begin(), heap_.end(), later);
  }

  void merge(const Candidate& candidate) {
    const std::int32_t position = candidate.position;
    const std::int32_t right = links_[place(position)].next;
    if (symbols_[place(position)] == kMerged || right == kNone) return;
    const Merge* still = merges_.find(symbols_[place(position)], symbols_[place(right)]);
    if (still == nullptr || still->into != candidate.into) return;  // one of the two has been merged meanwhile
    symbols_[place(position)] = candidate.into;
    symbols_[place(right)] = kMerged;
    const std::int32_t next = links_[place(right)].next;
    links_[place(position)].next = next;
    if (next != kNone) {
      links_[place(next)].previous = position;
      offer(position, /*sorted=*/true);
    }
    if (links_[place(position)].previous != kNone) offer(links_[place(position)].previous, /*sorted=*/true);
  }

  const MergeTable& merges_;
  std::vector<std::int32_t>& symbols_;
  std::vector<Link> links_;
  std::vector<Candidate> heap_;
};

}  // namespace

void merge_symbols(const MergeTable& merges, std::vector<std::int32_t>& symbols) {
  if (symbols.size() < 2) return;
  if (symbols.size() <= kScannedUpTo) {
    merge_by_scanning(merges, symbols);
  } else {
    HeapMerger(merges, symbols).run();
  }
}

}  // namespace headroom
