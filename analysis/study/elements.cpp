#include "analysis/study/elements.h"

#include <algorithm>
#include <cmath>

#include "analysis/statistics.h"

namespace headroom::study {
namespace {

std::vector<std::int32_t> sorted_once(std::vector<std::int32_t> numbers) {
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  return numbers;
}

}  // namespace

std::vector<Element> massive_elements(const Tensor& h, std::int32_t sequence, const Options& options) {
  const std::span<const float> values = h.span<float>();
  const auto above = [](double bound) {
    return [bound](float value) { return std::abs(static_cast<double>(value)) > bound; };
  };
  std::vector<Element> found;
  // The median is worth its time only where the first test finds something.
  if (std::none_of(values.begin(), values.end(), above(options.absolute))) return found;
  const double bound = std::max(options.absolute, options.ratio * median_magnitude(values));
  const std::int64_t width = h.columns();
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!above(bound)(values[i])) continue;
    const auto place = static_cast<std::int64_t>(i);
    found.push_back(
        {sequence, static_cast<std::int32_t>(place / width), static_cast<std::int32_t>(place % width), values[i]});
  }
  return found;
}

std::vector<std::int32_t> channels_of(const std::vector<Element>& elements) {
  std::vector<std::int32_t> channels;
  for (const Element& element : elements) channels.push_back(element.channel);
  return sorted_once(std::move(channels));
}

std::vector<std::int32_t> positions_of(const std::vector<Element>& elements, std::int32_t sequence) {
  std::vector<std::int32_t> positions;
  for (const Element& element : elements) {
    if (element.sequence == sequence) positions.push_back(element.position);
  }
  return sorted_once(std::move(positions));
}

}  // namespace headroom::study
