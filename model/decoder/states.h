// The residual streams of several sequences on their way through a decoder, one under the other.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/memory.h"

namespace headroom::decoder {

class States {
 public:
  States() = default;
  // Uninitialised rows of `width` for sequences of these lengths.
  States(std::vector<std::int64_t> lengths, std::int64_t width);
  // Copies of some sequences, in this order; the same one may come again.
  States(const States& from, std::span<const std::size_t> sequences);

  std::size_t count() const { return lengths_.size(); }
  std::int64_t length(std::size_t sequence) const { return lengths_[sequence]; }
  std::int64_t width() const { return width_; }
  std::int64_t rows() const { return starts_.empty() ? 0 : starts_.back(); }
  // Sequence i's rows are [start(i), start(i + 1)).
  std::int64_t start(std::size_t sequence) const { return starts_[sequence]; }

  Tensor all() const { return memory_.tensor({rows(), width_}, DType::f32); }
  Tensor of(std::size_t sequence) const { return all().row_range(start(sequence), length(sequence)); }

 private:
  std::vector<std::int64_t> lengths_;
  std::vector<std::int64_t> starts_;  // one more than sequences
  std::int64_t width_ = 0;
  Buffer memory_;
};

}  // namespace headroom::decoder
