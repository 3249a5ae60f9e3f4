// Merging the symbols of one piece, pair by pair in the order of their ranks; of equal pairs the leftmost goes first.
#pragma once

#include <cstdint>
#include <vector>

#include "data/tokenizer/merge_table.h"

namespace headroom {

// Replaces `symbols` by what is left when nothing merges any more. n symbols take O(n log n); few are scanned instead.
void merge_symbols(const MergeTable& merges, std::vector<std::int32_t>& symbols);

}  // namespace headroom
