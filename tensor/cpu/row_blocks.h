// Sums over rows (a norm's parameter gradients) whose bits depend on the shape alone, never on the number of threads:
// every block of rows sums into a vector of its own, and the vectors are added in the order of the blocks.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tensor/cpu/parallel_for.h"
#include "tensor/cpu/scratch.h"
#include "tensor/round_up.h"
#include "tensor/tensor.h"

namespace headroom::cpu {

// Rows of a block, a function of the number of rows alone: few enough for threads to share the work evenly, many
// enough that there are at most 64 vectors to add up.
inline std::int64_t rows_per_block(std::int64_t rows) {
  constexpr std::int64_t kFewest = 32;
  constexpr std::int64_t kMostBlocks = 64;
  return std::max(kFewest, (rows + kMostBlocks - 1) / kMostBlocks);
}

// Calls work(begin, end, partial) for blocks of rows in parallel; partial [width] starts at zero and is the block's
// own. Returns the sum of all partials [width], valid until this thread's next thread_scratch<T>; `work` must not use
// that. row_elements: elements a row that `work` goes through.
template <class T, class Work>
const T* sum_over_row_blocks(std::int64_t rows, std::int64_t row_elements, std::int64_t width, const Work& work) {
  constexpr std::int64_t kPageElements = 4096 / sizeof(T);  // partials of two threads share no cache line
  const std::int64_t block_rows = rows_per_block(rows);
  const std::int64_t blocks = std::max<std::int64_t>(1, (rows + block_rows - 1) / block_rows);
  const std::int64_t stride = round_up(width, kPageElements);
  T* partials = thread_scratch<T>(static_cast<std::size_t>(blocks * stride));
  parallel_for(blocks, rows_grain(block_rows * row_elements), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t block = first; block < last; ++block) {
      T* partial = partials + block * stride;
      std::fill(partial, partial + width, T{0});
      work(block * block_rows, std::min((block + 1) * block_rows, rows), partial);
    }
  });
  parallel_for(width, rows_grain(blocks), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = 1; block < blocks; ++block) {
      const T* partial = partials + block * stride;
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) partials[i] += partial[i];
    }
  });
  return partials;
}

// to[i] += from[i] for a gradient that may be absent.
template <class T>
void add_sums(const T* from, std::int64_t count, const Tensor& to) {
  if (!to.present()) return;
  T* values = to.data<T>();
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) values[i] += from[i];
}

}  // namespace headroom::cpu
