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

// Elements whose mean is taken together.
std::tuple<bool, std::int32_t, bool> group_of(const Element& element) {
  return {element.position == 0, element.channel, element.value < 0.0F};
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
  std::map<std::tuple<bool, std::int32_t, bool>, std::pair<double, std::int64_t>> sums;
  for (const Element& element : calibration) {
    auto& [sum, count] = sums[group_of(element)];
    sum += element.value;
    ++count;
  }
  for (const auto& [key, sum] : sums) target.means[key] = sum.first / static_cast<double>(sum.second);
  return target;
}

Change intervene(Kind kind, const Target& target, const std::vector<Element>& own, std::int32_t sequence,
                 const Options& options, Tensor rows) {
  Change change;
  if (kind == Kind::none) return change;
  const auto at = [&](std::int32_t position, std::int32_t channel) -> float& {
    return rows.data<float>()[position * rows.columns() + channel];
  };
  if (kind == Kind::mean) {
    for (const Element& element : own) {
      const bool ours = std::binary_search(target.channels.begin(), target.channels.end(), element.channel);
      if (element.sequence != sequence || !ours) continue;
      const auto mean = target.means.find(group_of(element));
      if (mean == target.means.end()) {
        ++change.without_mean;
      } else {
        at(element.position, element.channel) = static_cast<float>(mean->second);
        ++change.changed;
      }
    }
    return change;
  }
  const std::vector<std::int32_t> positions = positions_of(own, sequence);
  if (kind == Kind::control) {
    const auto count = static_cast<std::int64_t>(positions.size() * target.channels.size());
    change.changed = zero_ordinary(count, sequence, options.seed, rows);
    return change;
  }
  const double bound =
      kind == Kind::clamp && !positions.empty()
          ? std::max(options.absolute, options.ratio * median_magnitude(std::span<const float>(rows.span<float>())))
          : 0.0;
  for (const std::int32_t position : positions) {
    for (const std::int32_t channel : target.channels) {
      float& value = at(position, channel);
      if (kind == Kind::clamp && static_cast<double>(std::abs(value)) <= bound) continue;
      value = kind == Kind::zero ? 0.0F : std::copysign(static_cast<float>(bound), value);
      ++change.changed;
    }
  }
  return change;
}

}  // namespace headroom::study
