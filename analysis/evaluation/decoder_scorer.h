// Passages scored by a decoder (model/decoder): any checkpoint that the program opens, on the CPU.
#pragma once

#include "analysis/evaluation/scorer.h"
#include "model/decoder/decoder.h"

namespace headroom::evaluation {

class DecoderScorer : public Scorer {
 public:
  // `batch_tokens`: how many tokens go through the model together, so that a layer's weights are fetched once for all
  // of them; a longer passage goes by itself. 0: as many as have 128 MiB of hidden states, at least 2048, at most
  // 32768.
  DecoderScorer(decoder::Decoder& decoder, std::int64_t batch_tokens);

  // A passage whose input is the beginning of another's (all but the last token of it) is read off the other's rows, so
  // that answers of one token to one question cost one pass, and equal passages have equal scores.
  void score(std::span<const Passage> passages, const Take& take, const Advance& advance) override;

 private:
  struct Group;
  void score_batch(std::span<const Passage> passages, std::span<const Group> groups, const Take& take,
                   const std::function<void(std::uint64_t units)>& done);

  decoder::Decoder& decoder_;
  std::int64_t batch_tokens_;
  std::uint64_t head_units_;  // the head's work on a token, in layers
};

}  // namespace headroom::evaluation
