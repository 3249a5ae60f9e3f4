#include "analysis/report/estimate.h"

#include <boost/math/distributions/beta.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <vector>

namespace headroom::report {

double t_quantile(double degrees) {
  return boost::math::quantile(boost::math::students_t(degrees), 0.975);
}

Estimate estimate(std::span<const double> values, Averaging averaging) {
  Estimate e{.n = values.size()};
  if (values.empty()) return e;
  const auto count = static_cast<double>(values.size());
  std::vector<double> used;
  double mean = 0.0;
  for (const double value : values) {
    used.push_back(averaging == Averaging::geometric ? std::log(value) : value);
    mean += used.back() / count;
  }
  if (!std::isfinite(mean)) return e;
  const auto back = [&](double x) { return averaging == Averaging::geometric ? std::exp(x) : x; };
  e.mean = back(mean);
  if (values.size() < 2) return e;
  double squares = 0.0;
  for (const double x : used) squares += (x - mean) * (x - mean);
  const double half = t_quantile(count - 1.0) * std::sqrt(squares / (count - 1.0) / count);
  e.low = back(mean - half);
  e.high = back(mean + half);
  return e;
}

bool separate(const Estimate& a, const Estimate& b) {
  return a.high < b.low || b.high < a.low;
}

// With B = (n-1) S1^2 / ((n-1) S1^2 + (m-1) S2^2), which is Beta distributed and independent of the pooled deviation,
// the intervals separate when the pooled t of n + m - 2 degrees exceeds a limit that depends on B only; averaged over
// B's quantiles.
double chance_to_separate(std::size_t n, std::size_t m) {
  constexpr int kQuantiles = 400;
  const double of_n = static_cast<double>(n) - 1.0;
  const double of_m = static_cast<double>(m) - 1.0;
  const boost::math::students_t pooled(of_n + of_m);
  const boost::math::beta_distribution<> split(of_n / 2.0, of_m / 2.0);
  const double scale = std::sqrt(1.0 / (of_n + 1.0) + 1.0 / (of_m + 1.0));
  const auto half_width = [&](double share, double degrees) {
    return t_quantile(degrees) * std::sqrt(share * (of_n + of_m) / degrees / (degrees + 1.0));
  };
  double chance = 0.0;
  for (int i = 0; i < kQuantiles; ++i) {
    const double share = boost::math::quantile(split, (i + 0.5) / kQuantiles);
    const double limit = (half_width(share, of_n) + half_width(1.0 - share, of_m)) / scale;
    chance += 2.0 * boost::math::cdf(boost::math::complement(pooled, limit)) / kQuantiles;
  }
  return chance;
}

}  // namespace headroom::report
