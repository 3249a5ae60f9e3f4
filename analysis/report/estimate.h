// The mean of a few seeds and how far it can be trusted: Student's interval, and when two of them lie apart.
#pragma once

#include <cstddef>
#include <span>

#include "analysis/report/unknown.h"

namespace headroom::report {

// Geometric: mean and interval are worked out of the logarithms, for positive quantities whose spread grows with them.
enum class Averaging { arithmetic, geometric };

struct Estimate {
  std::size_t n = 0;
  double mean = kUnknown;
  double low = kUnknown, high = kUnknown;  // 95 % confidence interval; unknown for n < 2

  bool has_interval() const { return low <= high; }
};

// The two-sided 95 % quantile of Student's t: |t| stays below it with probability 0.95. `degrees` > 0.
double t_quantile(double degrees);

// mean -+ t(n - 1) s / sqrt(n), with s the standard deviation over n - 1. A value that is not finite (or, for the
// geometric mean, not positive) is not dropped: all but n is unknown then.
Estimate estimate(std::span<const double> values, Averaging averaging);

// Whether both have intervals and these share no point.
bool separate(const Estimate& a, const Estimate& b);

// The probability that the intervals of two samples of `n` and `m` normal values separate by chance: same mean, same
// standard deviation. Both at least 2. Never above 0.05 whatever the deviations (Banerjee, Sankhya 22, 1960: the sum
// of the half-widths is no less than the root of the sum of their squares).
double chance_to_separate(std::size_t n, std::size_t m);

}  // namespace headroom::report
