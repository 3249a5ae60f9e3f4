// The middle of measured times.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace headroom {

// Of an even number the upper of the two middle ones; there must be some.
inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace headroom
