// What a run does not say. Every mean it enters is unknown too, and no comparison with it is true.
#pragma once

#include <limits>

namespace headroom::report {

inline constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

}  // namespace headroom::report
