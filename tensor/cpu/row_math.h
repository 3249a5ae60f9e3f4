// What several operations do with one row (or one head's vector) of numbers.
#pragma once

#include <cmath>
#include <cstdint>

namespace headroom::cpu {

template <class T>
T dot(const T* a, const T* b, std::int64_t count) {
  T sum{0};
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

// Norms of rows are functions of their own, kept out of line: inside a loop over rows, with pointers that a lambda
// captured, the compiler (GCC 12) gives up vectorising them.

template <class T>
[[gnu::noinline]] T mean_of_squares(const T* x, T center, std::int64_t columns) {
  T squares{0};
#pragma omp simd reduction(+ : squares)
  for (std::int64_t i = 0; i < columns; ++i) squares += (x[i] - center) * (x[i] - center);
  return squares / static_cast<T>(columns);
}

// y = x * rstd * gamma; returns rstd = 1 / sqrt(mean(x^2) + eps).
template <class T>
[[gnu::noinline]] T rms_norm_row(const T* x, const T* gamma, T eps, std::int64_t columns, T* y) {
  const T rstd = T{1} / std::sqrt(mean_of_squares(x, T{0}, columns) + eps);
#pragma omp simd
  for (std::int64_t i = 0; i < columns; ++i) y[i] = x[i] * rstd * gamma[i];
  return rstd;
}

}  // namespace headroom::cpu
