#include "analysis/study/bootstrap.h"

#include <fmt/format.h>

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

// Of each resample, which sequences of a text it draws. The first text's are those of a text by itself.
class Draws {
 public:
  Draws(std::size_t sequences, std::size_t text, std::uint64_t seed)
      : random_(seed, text == 0 ? "bootstrap" : fmt::format("bootstrap/{}", text)), draw_(sequences) {}

  const Draw& of(int resample) {
    const std::size_t sequences = draw_.size();
    for (std::size_t i = 0; i < sequences; ++i) {
      const double uniform = random_.uniform(static_cast<std::uint64_t>(resample) * sequences + i);
      draw_[i] = std::min(sequences - 1, static_cast<std::size_t>(uniform * static_cast<double>(sequences)));
    }
    return draw_;
  }

 private:
  RandomStream random_;
  Draw draw_;
};

// `figure` of each resample, `fewest` sequences having been drawn from the smallest text.
Interval interval(double value, std::size_t fewest, int resamples, const std::function<double(int)>& figure) {
  constexpr double kTail = 0.025;
  if (fewest < kFewestSequences) {
    constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
    return {value, kUnknown, kUnknown};
  }
  std::vector<double> figures;
  for (int resample = 0; resample < resamples; ++resample) figures.push_back(figure(resample));
  std::sort(figures.begin(), figures.end());
  const auto at = [&](double share) {
    return figures[static_cast<std::size_t>(std::lround(share * static_cast<double>(figures.size() - 1)))];
  };
  return {value, at(kTail), at(1.0 - kTail)};
}

}  // namespace

Interval perplexity_interval(const std::vector<SequenceLoss>& losses, int resamples, std::uint64_t seed) {
  Draws draws(losses.size(), 0, seed);
  return interval(perplexity(losses), losses.size(), resamples,
                  [&](int resample) { return perplexity_of(losses, draws.of(resample)); });
}

Interval ratio_interval(const std::vector<SequenceLoss>& losses, const std::vector<SequenceLoss>& reference,
                        int resamples, std::uint64_t seed) {
  return mean_ratio_interval({losses}, {reference}, resamples, seed);
}

Interval mean_ratio_interval(const std::vector<std::vector<SequenceLoss>>& losses,
                             const std::vector<std::vector<SequenceLoss>>& references, int resamples,
                             std::uint64_t seed) {
  std::vector<Draws> draws;
  std::size_t fewest = std::numeric_limits<std::size_t>::max();
  for (std::size_t text = 0; text < losses.size(); ++text) {
    HEADROOM_CHECK(losses[text].size() == references[text].size(), "{} and {} sequences", losses[text].size(),
                   references[text].size());
    draws.emplace_back(losses[text].size(), text, seed);
    fewest = std::min(fewest, losses[text].size());
  }
  // The ratio of each text by `ratio_of`.
  const auto geometric_mean = [&](auto ratio_of) {
    if (losses.size() == 1) return ratio_of(std::size_t{0});
    double sum = 0.0;
    for (std::size_t text = 0; text < losses.size(); ++text) sum += std::log(ratio_of(text));
    return std::exp(sum / static_cast<double>(losses.size()));
  };
  const double value =
      geometric_mean([&](std::size_t text) { return perplexity(losses[text]) / perplexity(references[text]); });
  return interval(value, fewest, resamples, [&](int resample) {
    return geometric_mean([&](std::size_t text) {
      const Draw& draw = draws[text].of(resample);
      return perplexity_of(losses[text], draw) / perplexity_of(references[text], draw);
    });
  });
}

}  // namespace headroom::study
