// Log-probabilities of chosen ids in rows of logits that come a block of ids at a time: of each row only its largest
// logit, the sum of exponentials and the chosen ids' logits are kept.
#pragma once

#include <cstdint>
#include <vector>

#include "analysis/evaluation/scorer.h"
#include "model/decoder/decoder.h"

namespace headroom::evaluation {

class RowScores {
 public:
  // `targets` by rising row; a row may have several.
  struct Target {
    std::int64_t row;
    std::int32_t id;
  };
  RowScores(std::int64_t rows, std::vector<Target> targets);

  // Blocks of a row by rising id, each once. Overwrites the block's logits.
  void take(const decoder::Decoder::LogitsBlock& block);

  // Of targets[target], once all blocks were taken. log p = logit - max - log(sum of exp(logit - max)); logits are f32,
  // the sum goes on in f64.
  TokenScore score(std::size_t target) const;

 private:
  std::vector<Target> targets_;
  std::vector<float> target_logits_;
  std::vector<float> max_;
  std::vector<std::int32_t> argmax_;  // the first id that has it
  std::vector<double> sum_;           // of exp(logit - max)
  std::vector<float> block_max_, block_sum_, unused_;
  std::vector<std::int32_t> no_targets_;
};

}  // namespace headroom::evaluation
