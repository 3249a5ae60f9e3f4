// Sums over rows in a fixed order, the second half: a kernel's blocks each leave a row of partial sums (the first
// half), here those are added up. How many blocks there are is a function of the shape alone, so the bits are too.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "tensor/cuda/launch.h"

namespace headroom::cuda {

// partials [groups, columns]; out [columns] is added to, or null where nobody wants the sums.
struct PartialSums {
  const float* partials;
  std::int64_t columns;
  float* out;
};

// out += the sums of the partials over the groups, for up to three of them in one launch.
void add_partial_sums(std::int64_t groups, std::initializer_list<PartialSums> sums);

// Blocks of `threads` that fill an H100 once with `resident` threads a multiprocessor (or twice, where one block is
// most of that). Not the device at hand: results must not depend on it.
constexpr std::int64_t filling_blocks(std::int64_t threads, std::int64_t resident) {
  constexpr std::int64_t kMultiprocessors = 132;
  return kMultiprocessors * std::max<std::int64_t>(2, resident / threads);
}

// As many groups as that, but at least `fewest` rows (or whatever is summed over) a group.
constexpr std::int64_t groups_of(std::int64_t rows, std::int64_t fewest, std::int64_t threads, std::int64_t resident) {
  return std::min(pieces(rows, fewest), filling_blocks(threads, resident));
}

}  // namespace headroom::cuda
