// The study of a model's massive activations: what it looks at and by which rules
// ("A Refined Analysis of Massive Activations in LLMs", arXiv 2503.22329, section 3, with its code's slips mended:
// docs/study.md lists them).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/decoder/decoder.h"

namespace headroom::study {

struct Options {
  double absolute = 100.0;  // an element is massive when |h| exceeds this
  double ratio = 1000.0;    // and this many times its layer's median |h|
  double sink = 0.3;        // mean attention to a key that makes it a sink
  int detection_sequences = 10;
  int mean_sequences = 100;       // whose massive elements make the mean that replaces others
  int evaluation_sequences = 50;  // of each held-out text, whose loss is measured
  int tokens = 512;               // of a sequence, BOS included
  std::uint64_t seed = 1;         // of the control's choice and the bootstrap
  int resamples = 1000;           // of the bootstrap
};

// Sequences of one condition, with a BOS before each or without.
struct Sequences {
  bool bos = false;
  std::vector<decoder::Sequence> mean;
  std::vector<decoder::Sequence> detection;  // some of them, spread evenly
  // Of other text: each held-out text by itself.
  struct HeldOut {
    std::string name;
    std::vector<decoder::Sequence> sequences;
  };
  std::vector<HeldOut> evaluation;
};

// Of queries and keys that sinks are looked for among [Gu et al., arXiv 2410.10781].
inline constexpr std::int64_t kSinkTokens = 64;
// Keys with fewer queries behind them are no sinks: their mean says little.
inline constexpr std::int64_t kFewestQueries = 8;

}  // namespace headroom::study
