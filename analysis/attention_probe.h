// Where one head's attention goes: to the first token, to the KV bias' slot, to everything else.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace headroom {

// Sinks are looked for among the first tokens of a sequence, as arXiv 2410.10781 does (its T): a mean over a longer
// window would thin out every key's mass and compare with nothing published.
inline constexpr std::int64_t kSinkTokens = 64;

// Means over queries of one head's attention probabilities (docs/metrics.md). With a single token there is no query
// that could choose: the first three are NaN.
struct HeadMasses {
  double first = 0.0;            // queries i >= 1, to key 0
  double bias = 0.0;             // queries i >= 1, to the bias slot; 0 without one
  double rest = 0.0;             // queries i >= 1, to keys 1..i
  double bias_all = 0.0;         // all queries, to the bias slot
  std::vector<double> key_mass;  // [tokens] to key k, over queries i >= k
  // The same two over the first n = min(tokens, kSinkTokens) queries only.
  std::vector<double> sink_mass;  // [n] to key k, over queries k <= i < n
  double sink_bias = 0.0;         // to the bias slot, over queries i < n
};

// `probabilities` [stride, stride], row-major, causal, of which the first `tokens` queries and keys are real; `bias`
// [>= tokens] each query's attention to the bias slot, or empty. T float or double.
template <class T>
HeadMasses head_masses(std::span<const T> probabilities, std::int64_t stride, std::int64_t tokens,
                       std::span<const T> bias);

}  // namespace headroom
