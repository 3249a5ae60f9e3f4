#include "model/decoder/sampling.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "base/random.h"

namespace headroom::decoder {

std::int32_t choose_token(std::span<const float> logits, const Sampling& sampling, std::int64_t position) {
  HEADROOM_CHECK(!logits.empty() && sampling.temperature >= 0.0 && sampling.top_p > 0.0, "settings of sampling");
  if (std::any_of(logits.begin(), logits.end(), [](float logit) { return !std::isfinite(logit); })) {
    throw Error(ExitCode::diverged, fmt::format("a logit at position {} is not finite", position),
                "The model's weights hold NaNs or infinities, or its activations overflow.");
  }
  const auto largest = std::max_element(logits.begin(), logits.end());
  if (sampling.temperature == 0.0) return static_cast<std::int32_t>(largest - logits.begin());

  std::vector<std::int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto before = [&](std::int32_t a, std::int32_t b) {
    const float left = logits[static_cast<std::size_t>(a)];
    const float right = logits[static_cast<std::size_t>(b)];
    return left != right ? left > right : a < b;
  };
  const std::size_t most = sampling.top_k > 0 ? std::min<std::size_t>(ids.size(), sampling.top_k) : ids.size();
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(most), ids.end(), before);
  ids.resize(most);
  std::vector<double> upto;  // sums of exp(logit - largest), the largest first
  double sum = 0.0;
  for (const std::int32_t id : ids) {
    sum += std::exp((double{logits[static_cast<std::size_t>(id)]} - double{*largest}) / sampling.temperature);
    upto.push_back(sum);
  }
  if (sampling.top_p < 1.0) {
    const auto reached = std::lower_bound(upto.begin(), upto.end(), sampling.top_p * sum);
    upto.resize(static_cast<std::size_t>(std::min(reached + 1, upto.end()) - upto.begin()));
  }
  const double drawn =
      RandomStream(sampling.seed, "generation").uniform(static_cast<std::uint64_t>(position)) * upto.back();
  const auto chosen = std::lower_bound(upto.begin(), upto.end(), drawn);
  return ids[static_cast<std::size_t>(std::min(chosen, upto.end() - 1) - upto.begin())];
}

}  // namespace headroom::decoder
