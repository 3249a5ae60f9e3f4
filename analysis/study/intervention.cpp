#include "analysis/study/intervention.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "analysis/statistics.h"
#include "base/random.h"

namespace headroom::study {
namespace {

// Elements within this share of the median, of which the control takes some.
constexpr double kNearMedian = 0.1;

// Sets `count` activations of the median's size to zero.
std::int64_t zero_ordinary(std::int64_t count, std::int32_t sequence, std::uint64_t seed, Tensor rows) {
  const std::span<float> values = rows.span<float>();
  const double median = median_magnitude(std::span<const float>(values));
  std::vector<std::size_t> ordinary;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::abs(std::abs(static_cast<double>(values[i])) - median) <= kNearMedian * median) ordinary.push_back(i);
  }
  const auto wanted = std::min(ordinary.size(), static_cast<std::size_t>(count));
  if (wanted == 0) return 0;
  const RandomPermutation order(ordinary.size(), seed, fmt::format("control/{}", sequence));
  for (std::size_t i = 0; i < wanted; ++i) values[ordinary[order(i)]] = 0.0F;
  return static_cast<std::int64_t>(wanted);
}

}  // namespace

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::none:
      return "unchanged";
    case Kind::zero:
      return "zero";
    case Kind::mean:
      return "mean";
    case Kind::clamp:
      return "clamp";
    case Kind::control:
      return "control";
  }
  return "";
}

Target make_target(std::int64_t layer, const std::vector<std::int32_t>& channels,
                   const std::vector<Element>& calibration) {
  Target target{layer, channels, {}};
  std::map<std::pair<bool, std::int32_t>, std::pair<double, std::int64_t>> sums;
  for (const Element& element : calibration) {
    auto& [sum, count] = sums[{element.position == 0, element.channel}];
    sum += element.value;
    ++count;
  }
  for (const auto& [key, sum] : sums) target.means[key] = sum.first / static_cast<double>(sum.second);
  return target;
}

std::int64_t intervene(Kind kind, const Target& target, const std::vector<Element>& own, std::int32_t sequence,
                       const Options& options, Tensor rows) {
  if (kind == Kind::none) return 0;
  const std::vector<std::int32_t> positions = positions_of(own, sequence);
  if (kind == Kind::control) {
    return zero_ordinary(static_cast<std::int64_t>(positions.size() * target.channels.size()), sequence, options.seed,
                         rows);
  }
  const double bound =
      kind == Kind::clamp && !positions.empty()
          ? std::max(options.absolute, options.ratio * median_magnitude(std::span<const float>(rows.span<float>())))
          : 0.0;
  std::int64_t changed = 0;
  for (const std::int32_t position : positions) {
    float* row = rows.data<float>() + position * rows.columns();
    for (const std::int32_t channel : target.channels) {
      float& value = row[channel];
      if (kind == Kind::zero) {
        value = 0.0F;
      } else if (kind == Kind::clamp) {
        value = static_cast<float>(std::clamp(static_cast<double>(value), -bound, bound));
      } else {
        const auto mean = target.means.find({position == 0, channel});
        if (mean == target.means.end()) continue;
        value = static_cast<float>(mean->second);
      }
      ++changed;
    }
  }
  return changed;
}

}  // namespace headroom::study
