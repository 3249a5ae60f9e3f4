#include "data/tokenizer/split.h"

#include <algorithm>

namespace headroom {
namespace {

// Folds stretches into fewer, in place, in their order. A stretch joins the one before it when `joins(match, previous
// match)`; the first counts as following one that did not match, and has nothing to join.
template <typename Joins>
void fold(std::vector<Stretch>& stretches, const Joins& joins) {
  std::size_t kept = 0;
  bool previous = false;
  for (const Stretch stretch : stretches) {
    if (kept > 0 && joins(stretch.match, previous)) {
      Stretch& last = stretches[kept - 1];
      last.begin = std::min(last.begin, stretch.begin);
      last.end = std::max(last.end, stretch.end);
    } else {
      stretches[kept++] = stretch;
    }
    previous = stretch.match;
  }
  stretches.resize(kept);
}

}  // namespace

SplitBehavior split_behavior(const JsonNode& node) {
  const std::string& name = node.string();
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  node.fail(fmt::format("the behaviour '{}' is not known", name));
}

void add_split(const Piece& piece, std::vector<Stretch>& stretches, SplitBehavior behavior, Pieces& pieces) {
  const auto starts_match = [](bool match, bool previous) { return match && !previous; };
  switch (behavior) {
    case SplitBehavior::isolated:
    case SplitBehavior::removed:
      break;
    case SplitBehavior::contiguous:
      fold(stretches, [](bool match, bool previous) { return match == previous; });
      break;
    case SplitBehavior::merged_with_previous:
      fold(stretches, starts_match);
      break;
    case SplitBehavior::merged_with_next:
      std::reverse(stretches.begin(), stretches.end());
      fold(stretches, starts_match);
      std::reverse(stretches.begin(), stretches.end());
      break;
  }
  for (const Stretch& stretch : stretches) {
    if (behavior == SplitBehavior::removed && stretch.match) continue;
    pieces.add_part(piece, stretch.begin, stretch.end);
  }
}

}  // namespace headroom
