#include "analysis/evaluation/row_scores.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/ops.h"

namespace headroom::evaluation {

RowScores::RowScores(std::int64_t rows, std::vector<Target> targets)
    : targets_(std::move(targets)),
      target_logits_(targets_.size(), std::numeric_limits<float>::quiet_NaN()),
      max_(static_cast<std::size_t>(rows), -std::numeric_limits<float>::infinity()),
      argmax_(static_cast<std::size_t>(rows), -1),
      sum_(static_cast<std::size_t>(rows), 0.0) {
  HEADROOM_CHECK(
      std::is_sorted(targets_.begin(), targets_.end(), [](const Target& a, const Target& b) { return a.row < b.row; }),
      "targets not by row");
}

void RowScores::take(const decoder::Decoder::LogitsBlock& block) {
  const std::int64_t rows = block.logits.rows();
  const std::int64_t ids = block.logits.columns();
  const auto count = static_cast<std::size_t>(rows);
  block_max_.resize(count);
  block_sum_.resize(count);
  unused_.resize(count);
  no_targets_.assign(count, -1);
  const float* const logits = block.logits.data<float>();
  auto target = std::lower_bound(targets_.begin(), targets_.end(), block.first_row,
                                 [](const Target& a, std::int64_t row) { return a.row < row; });
  for (; target != targets_.end() && target->row < block.first_row + rows; ++target) {
    const std::int64_t id = target->id - block.first_id;
    if (id < 0 || id >= ids) continue;
    target_logits_[static_cast<std::size_t>(target - targets_.begin())] =
        logits[(target->row - block.first_row) * ids + id];
  }
  const Tensor block_max = Tensor::over(std::span<float>(block_max_), {rows});
  ops::row_max(block.logits, ids, block_max);
  for (std::int64_t i = 0; i < rows; ++i) {
    const auto row = static_cast<std::size_t>(block.first_row + i);
    const float largest = block_max_[static_cast<std::size_t>(i)];
    if (!(largest > max_[row])) continue;
    const float* const line = logits + i * ids;
    argmax_[row] = static_cast<std::int32_t>(block.first_id + (std::find(line, line + ids, largest) - line));
    sum_[row] *= std::exp(double{max_[row]} - double{largest});
    max_[row] = largest;
  }
  ops::exp_and_sum(block_max, Tensor::over(std::span<std::int32_t>(no_targets_), {rows}), 0, ids, block.logits,
                   Tensor::over(std::span<float>(block_sum_), {rows}), Tensor::over(std::span<float>(unused_), {rows}));
  for (std::size_t i = 0; i < count; ++i) {
    const auto row = static_cast<std::size_t>(block.first_row) + i;
    sum_[row] += double{block_sum_[i]} * std::exp(double{block_max_[i]} - double{max_[row]});
  }
}

TokenScore RowScores::score(std::size_t target) const {
  const auto row = static_cast<std::size_t>(targets_[target].row);
  return {double{target_logits_[target]} - double{max_[row]} - std::log(sum_[row]),
          argmax_[row] == targets_[target].id};
}

}  // namespace headroom::evaluation
