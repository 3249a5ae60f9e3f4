#include "analysis/study/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "base/error.h"
#include "base/random.h"

namespace headroom::study {
namespace {

using Draw = std::vector<std::size_t>;

double perplexity_of(const std::vector<SequenceLoss>& losses, const Draw& draw) {
  double nll = 0.0;
  std::int64_t tokens = 0;
  for (const std::size_t i : draw) {
    nll += losses[i].nll;
    tokens += losses[i].tokens;
  }
  return std::exp(nll / static_cast<double>(tokens));
}

Interval interval(double value, std::size_t sequences, int resamples, std::uint64_t seed,
                  const std::function<double(const Draw&)>& figure) {
  constexpr double kTail = 0.025;
  if (sequences < kFewestSequences) {
    constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
    return {value, kUnknown, kUnknown};
  }
  std::vector<double> figures;
  const RandomStream random(seed, "bootstrap");
  Draw draw(sequences);
  for (int resample = 0; resample < resamples; ++resample) {
    for (std::size_t i = 0; i < sequences; ++i) {
      const double uniform = random.uniform(static_cast<std::uint64_t>(resample) * sequences + i);
      draw[i] = std::min(sequences - 1, static_cast<std::size_t>(uniform * static_cast<double>(sequences)));
    }
    figures.push_back(figure(draw));
  }
  std::sort(figures.begin(), figures.end());
  const auto at = [&](double share) {
    return figures[static_cast<std::size_t>(std::lround(share * static_cast<double>(figures.size() - 1)))];
  };
  return {value, at(kTail), at(1.0 - kTail)};
}

}  // namespace

Interval perplexity_interval(const std::vector<SequenceLoss>& losses, int resamples, std::uint64_t seed) {
  return interval(perplexity(losses), losses.size(), resamples, seed,
                  [&](const Draw& draw) { return perplexity_of(losses, draw); });
}

Interval ratio_interval(const std::vector<SequenceLoss>& losses, const std::vector<SequenceLoss>& reference,
                        int resamples, std::uint64_t seed) {
  HEADROOM_CHECK(losses.size() == reference.size(), "{} and {} sequences", losses.size(), reference.size());
  return interval(perplexity(losses) / perplexity(reference), losses.size(), resamples, seed,
                  [&](const Draw& draw) { return perplexity_of(losses, draw) / perplexity_of(reference, draw); });
}

}  // namespace headroom::study
