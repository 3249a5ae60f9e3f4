// Elementary functions written so that the compiler can put them into `#pragma omp simd` loops whole, without calls
// and without the slow paths that a library's vector functions take for infinite and tiny arguments.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace headroom::cpu {

// e^x, relative error below 2e-7; 0 below -86.6 (where e^x < 2.5e-38), infinity above 88.73, NaN for NaN.
// x = n ln2 + r with |r| <= ln2 / 2, e^r by the minimax polynomial of Cephes' expf, 2^n through the exponent bits.
inline float fast_exp(float x) {
  constexpr float kLowest = -86.6f;
  constexpr float kHighest = 89.0f;
  constexpr float kLog2E = 1.44269504088896341f;
  constexpr float kLn2High = 0.693359375f;
  constexpr float kLn2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, kept in the low mantissa bits

  const float below = x > kHighest ? kHighest : x;
  const float clamped = below < kLowest ? kLowest : below;
  const float shifted = clamped * kLog2E + kRound;
  const float n = shifted - kRound;
  const float r = (clamped - n * kLn2High) - n * kLn2Low;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  // 2^(n-1), so that n = 128 still fits; the last factor 2 overflows to infinity when it should.
  const auto exponent = (std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(kRound) + 126) << 23;
  const float result = p * std::bit_cast<float>(exponent) * 2.0f;
  return x < kLowest ? 0.0f : result;
}

// In f64, which exists for checking, exactness goes before speed.
inline double fast_exp(double x) {
  return std::exp(x);
}

// tanh x, relative error below 3e-7, NaN for NaN. Near zero an odd polynomial (fitted to tanh on [0, 0.625]), beyond it
// 1 - 2 / (e^(2|x|) + 1), where nothing cancels any more.
inline float fast_tanh(float x) {
  const float magnitude = std::fabs(x);
  const float z = x * x;
  float p = -5.717044511e-3f;
  p = p * z + 2.065058678e-2f;
  p = p * z - 5.374349792e-2f;
  p = p * z + 1.333149128e-1f;
  p = p * z - 3.333328393e-1f;
  const float near_zero = x + x * (z * p);
  const float beyond = std::copysign(1.0f - 2.0f / (fast_exp(2.0f * magnitude) + 1.0f), x);
  return magnitude < 0.625f ? near_zero : beyond;
}
inline double fast_tanh(double x) {
  return std::tanh(x);
}

// erf x, relative error below 3e-7, NaN for NaN. Up to 1 an odd polynomial, beyond it 1 - e^-q(|x|) with
// q(x) = -log(erfc x) as a polynomial on [1, 4]; from 4 on the result is 1 in f32. Both were fitted to erf for this.
inline float fast_erf(float x) {
  const float magnitude = std::fabs(x);
  const float z = x * x;
  float p = 7.889122820e-5f;
  p = p * z - 8.020842264e-4f;
  p = p * z + 5.189535450e-3f;
  p = p * z - 2.685444465e-2f;
  p = p * z + 1.128360018e-1f;
  p = p * z - 3.761262714e-1f;
  p = p * z + 1.128379166e+0f;
  const float t = magnitude > 4.0f ? 4.0f : magnitude;
  float q = -1.888227545e-4f;
  q = q * t + 2.972433932e-3f;
  q = q * t - 2.194039959e-2f;
  q = q * t + 1.033272870e-1f;
  q = q * t + 6.378831536e-1f;
  q = q * t + 1.127251417e+0f;
  q = q * t + 3.004377459e-4f;
  const float beyond = std::copysign(1.0f - fast_exp(-q), x);
  return magnitude < 1.0f ? x * p : beyond;
}
inline double fast_erf(double x) {
  return std::erf(x);
}

}  // namespace headroom::cpu
