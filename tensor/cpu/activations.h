// The feed-forward's activations of one number, with their derivatives.
#pragma once

#include <numbers>

#include "tensor/cpu/vector_math.h"

namespace headroom::cpu {

template <class T>
T sigmoid(T x) {
  return T{1} / (T{1} + fast_exp(-x));
}

// Each kind: its value and its derivative at x. Hendrycks & Gimpel 2016 for both forms of GELU.
struct Gelu {
  template <class T>
  static T value(T x) {
    return T{0.5} * x * (T{1} + fast_erf(x * (std::numbers::sqrt2_v<T> / 2)));
  }
  template <class T>
  static T derivative(T x) {
    constexpr T kInverseSqrtTwoPi = std::numbers::inv_sqrtpi_v<T> * (std::numbers::sqrt2_v<T> / 2);
    const T below = T{0.5} * (T{1} + fast_erf(x * (std::numbers::sqrt2_v<T> / 2)));
    return below + x * (kInverseSqrtTwoPi * fast_exp(T{-0.5} * x * x));
  }
};

// 0.5 (1 + tanh u) is sigmoid(2u): one exponential. 2u = x (a + b x^2).
struct GeluTanh {
  template <class T>
  static constexpr T kLinear = 2 * std::numbers::sqrt2_v<T>* std::numbers::inv_sqrtpi_v<T>;  // 2 sqrt(2 / pi)
  template <class T>
  static constexpr T kCubic = kLinear<T>* T{0.044715};

  template <class T>
  static T value(T x) {
    return x * sigmoid(x * (kLinear<T> + kCubic<T> * (x * x)));
  }
  template <class T>
  static T derivative(T x) {
    // Saturated long before the bound, which keeps x^2 finite: 0 times infinity would be no number.
    constexpr T kBound{100};
    const T below = x > kBound ? kBound : x;
    const T bounded = below < -kBound ? -kBound : below;
    const T square = bounded * bounded;
    const T gate = sigmoid(bounded * (kLinear<T> + kCubic<T> * square));
    return gate + bounded * (gate * (T{1} - gate)) * (kLinear<T> + T{3} * kCubic<T> * square);
  }
};

struct Relu {
  template <class T>
  static T value(T x) {
    return x < T{0} ? T{0} : x;  // a NaN stays one
  }
  template <class T>
  static T derivative(T x) {
    return x > T{0} ? T{1} : T{0};
  }
};

}  // namespace headroom::cpu
