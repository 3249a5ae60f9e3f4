// How sure a perplexity is, over which sequences happened to be looked at.
#pragma once

#include <cstdint>
#include <vector>

#include "analysis/study/losses.h"

namespace headroom::study {

struct Interval {
  double value = 0.0;
  // 2.5 % and 97.5 % of the bootstrap's distribution (Efron's percentile interval); NaN for fewer sequences than
  // kFewestSequences, which a resampling knows too little of.
  double low = 0.0;
  double high = 0.0;
};
inline constexpr std::size_t kFewestSequences = 10;

// Of a perplexity, and of one perplexity over another with the same sequences drawn for both. Draws depend on `seed`
// alone. Losses may be infinite, those of the reference must be finite, and none may be NaN.
Interval perplexity_interval(const std::vector<SequenceLoss>& losses, int resamples, std::uint64_t seed);
Interval ratio_interval(const std::vector<SequenceLoss>& losses, const std::vector<SequenceLoss>& reference,
                        int resamples, std::uint64_t seed);

// Over several texts: the geometric mean of their ratios, each text's sequences drawn by themselves. Of one text it is
// ratio_interval's.
Interval mean_ratio_interval(const std::vector<std::vector<SequenceLoss>>& losses,
                             const std::vector<std::vector<SequenceLoss>>& references, int resamples,
                             std::uint64_t seed);

}  // namespace headroom::study
