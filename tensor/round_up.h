// The next multiple: sizes in memory, shards of an axis.
#pragma once

namespace headroom {

// The smallest multiple of `step` that is at least `value`; value >= 0, step > 0.
template <class T>
constexpr T round_up(T value, T step) {
  return (value + step - 1) / step * step;
}

}  // namespace headroom
