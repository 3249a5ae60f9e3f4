// Counter-based random numbers: the value at (seed, name, index) is a pure function, so any rank can make any
// element of any tensor without having made the others. That is what keeps initialisation and data order the
// same under every layout. Generator: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace headroom {

// The generator itself: 128 bits for a counter and a key.
std::array<std::uint32_t, 4> philox4x32_10(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

// A stream of independent values, addressed by index.
class RandomStream {
 public:
  // `name` separates streams of one seed: a parameter's name, or "data-order/epoch-3".
  RandomStream(std::uint64_t seed, std::string_view name);

  // 128 random bits for `index`.
  std::array<std::uint32_t, 4> bits(std::uint64_t index) const;

  // Uniform in (0, 1), 53 bits.
  double uniform(std::uint64_t index) const;

  // Standard normal (Box-Muller; elements 2i and 2i+1 share one draw).
  double normal(std::uint64_t index) const;
  // Elements 2 * pair and 2 * pair + 1, for half the cost of asking twice.
  std::array<double, 2> normal_pair(std::uint64_t pair) const;

 private:
  std::array<std::uint32_t, 2> key_;
};

// A permutation of [0, size) addressed by index in O(1) memory: a Feistel network of four rounds on the next
// power of four, walked until it lands inside (cycle walking).
class RandomPermutation {
 public:
  // Throws ExitCode::internal if size is 0.
  RandomPermutation(std::uint64_t size, std::uint64_t seed, std::string_view name);

  // `index` in [0, size).
  std::uint64_t operator()(std::uint64_t index) const;

 private:
  std::uint64_t encrypt(std::uint64_t value) const;

  std::uint64_t size_;
  int half_bits_;
  RandomStream rounds_;
};

}  // namespace headroom
