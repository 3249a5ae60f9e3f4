// Numbers for the collectives' tests: different on every rank, of such different sizes that another order of summation
// would show in the bits.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "parallel/communicator.h"

namespace headroom {

// What numbers of T are added up in.
template <class T>
using Accumulator = std::conditional_t<std::is_same_v<T, bf16>, float, T>;

// No number is larger.
inline constexpr double kLargestNumber = 512.0;

// Element i of what `rank` contributes.
template <class T>
T number(int rank, std::int64_t i) {
  std::uint64_t bits = static_cast<std::uint64_t>(i) * 0x9e3779b97f4a7c15u + static_cast<std::uint64_t>(rank + 1);
  bits = (bits ^ (bits >> 31)) * 0xbf58476d1ce4e5b9u;
  bits ^= bits >> 29;
  const double unit = static_cast<double>(bits >> 11) / 9007199254740992.0 - 0.5;
  return T(
      static_cast<Accumulator<T>>(unit * static_cast<double>(1 << (bits % 11))));  // integers are rounded towards zero
}

// Elements [begin, begin + count) of what `rank` contributes.
template <class T>
std::vector<T> numbers(int rank, std::int64_t begin, std::int64_t count) {
  std::vector<T> values(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) values[static_cast<std::size_t>(i)] = number<T>(rank, begin + i);
  return values;
}

// Their reduction over `ranks` ranks, in rank order.
template <class T>
std::vector<T> reduced_numbers(int ranks, std::int64_t begin, std::int64_t count, Reduction reduction) {
  std::vector<T> result;
  for (std::int64_t i = begin; i < begin + count; ++i) {
    Accumulator<T> value = number<T>(0, i);
    for (int rank = 1; rank < ranks; ++rank) {
      const Accumulator<T> next = number<T>(rank, i);
      value = reduction == Reduction::sum ? value + next : std::max(value, next);
    }
    result.push_back(T(value));
  }
  return result;
}

// The largest relative error of a rounding.
template <class T>
constexpr double unit_roundoff() {
  if constexpr (std::is_same_v<T, bf16>) return 1.0 / 256.0;
  if constexpr (!std::is_same_v<T, bf16>) return static_cast<double>(std::numeric_limits<T>::epsilon()) / 2.0;
}

// Equal in every bit.
template <class T>
testing::AssertionResult same_bits(const std::vector<T>& actual, const std::vector<T>& expected) {
  if (actual.size() != expected.size()) {
    return testing::AssertionFailure() << actual.size() << " numbers where " << expected.size() << " were expected";
  }
  for (std::size_t i = 0; i < actual.size(); ++i) {
    using Bits = std::array<std::byte, sizeof(T)>;
    if (std::bit_cast<Bits>(actual[i]) != std::bit_cast<Bits>(expected[i])) {
      return testing::AssertionFailure() << "element " << i << " of " << actual.size() << " is " << actual[i]
                                         << " instead of " << expected[i];
    }
  }
  return testing::AssertionSuccess();
}

template <class T>
testing::AssertionResult about_equal(const std::vector<T>& actual, const std::vector<T>& expected, double tolerance) {
  if (actual.size() != expected.size()) {
    return testing::AssertionFailure() << actual.size() << " numbers where " << expected.size() << " were expected";
  }
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double difference = std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i]));
    if (!(difference <= tolerance)) {
      return testing::AssertionFailure() << "element " << i << " of " << actual.size() << " is " << actual[i]
                                         << " instead of " << expected[i] << ", off by " << difference;
    }
  }
  return testing::AssertionSuccess();
}

template <class T>
Tensor tensor_of(std::vector<T>& values) {
  return Tensor::over(std::span<T>(values), {static_cast<std::int64_t>(values.size())});
}

// Elements a shard: odd and tiny ones, one just over a power of two, and one that takes many segments.
inline const std::vector<std::int64_t>& shard_sizes() {
  static const std::vector<std::int64_t> sizes = {0, 1, 2, 3, 7, 64, 1000, 65537, 700001};
  return sizes;
}

// The same without the last: where segments are not the point.
inline const std::vector<std::int64_t>& smaller_shard_sizes() {
  static const std::vector<std::int64_t> sizes(shard_sizes().begin(), shard_sizes().end() - 1);
  return sizes;
}

}  // namespace headroom
