// The loss of sequences: what the model gives to each token that follows.
#pragma once

#include <vector>

#include "model/decoder/decoder.h"

namespace headroom::study {

// Of one sequence: a sum over its tokens but the first, in nats, and how many those are.
struct SequenceLoss {
  double nll = 0.0;
  std::int64_t tokens = 0;
};

// `features` as Decoder::finish gives them for these sequences, which may be `sequences` several times over. Logits in
// f32, sums in double; the whole of a row's logits is never there at once.
std::vector<SequenceLoss> losses(decoder::Decoder& model, const decoder::States& features,
                                 const std::vector<const decoder::Sequence*>& sequences);

// exp(sum of nll / sum of tokens).
double perplexity(const std::vector<SequenceLoss>& losses);

}  // namespace headroom::study
