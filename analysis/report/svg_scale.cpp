#include "analysis/report/svg_scale.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "analysis/report/format.h"

namespace headroom::report {
namespace {

struct Extent {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void add(double value, bool log) {
    if (!std::isfinite(value) || (log && value <= 0.0)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
};

double step_for(double span, int count) {
  const double raw = span / std::max(1, count);
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= raw * 0.999) return factor * power;
  }
  return 10.0 * power;
}

// `step`: to the next tick, which must not read alike.
std::string tick_label(double value, double step) {
  if (std::abs(value) >= 1e4 && std::abs(value) < 1e15) return format_amount(value);
  const double apart = value == 0.0 ? 0.0 : std::ceil(std::log10(std::abs(value) / step)) + 1.0;
  return fmt::format("{:.{}g}", value, static_cast<int>(std::clamp(apart, 4.0, 15.0)));
}

}  // namespace

double Scale::operator()(double value) const {
  if (log) return std::log(value / range.low) / std::log(range.high / range.low);
  return (value - range.low) / (range.high - range.low);
}

Scale x_scale(const std::vector<const Panel*>& panels) {
  Extent extent;
  const bool log = panels.front()->x.log;
  for (const Panel* panel : panels) {
    for (const Series& series : panel->series) {
      for (const double value : series.x) extent.add(value, log);
    }
  }
  if (extent.empty()) return {{log ? 1.0 : 0.0, log ? 10.0 : 1.0}, log};
  if (extent.low == extent.high) {
    return log ? Scale{{extent.low / 2.0, extent.high * 2.0}, true}
               : Scale{{extent.low - 0.5, extent.high + 0.5}, false};
  }
  return {{extent.low, extent.high}, log};
}

Scale y_scale(const std::vector<const Panel*>& panels) {
  Extent extent;
  const bool log = panels.front()->y.log;
  const bool bars = panels.front()->kind == PanelKind::bars;
  for (const Panel* panel : panels) {
    for (const Series& series : panel->series) {
      for (const auto* values : {&series.y, &series.low, &series.high}) {
        for (const double value : *values) extent.add(value, log);
      }
    }
    if (panel->band) {
      extent.add(panel->band->low, log);
      extent.add(panel->band->high, log);
    }
    for (const Rule& rule : panel->rules) {
      extent.add(rule.value, log);
      if (log) extent.add(rule.value * 1.5, log);  // room for its label
    }
  }
  if (extent.empty()) return {{log ? 1.0 : 0.0, log ? 10.0 : 1.0}, log};
  if (log) {
    if (bars) extent.low /= 2.0;  // the smallest bar still shows
    const double low = std::pow(10.0, std::floor(std::log10(extent.low) * 2.0 + 1e-9) / 2.0);
    const double high = std::pow(10.0, std::ceil(std::log10(extent.high) * 2.0 - 1e-9) / 2.0);
    return {{low, high > low ? high : low * 10.0}, true};
  }
  if (bars) extent.add(0.0, false);
  if (extent.low == extent.high) {
    // A share or a count that is zero everywhere has no negative side.
    return {{extent.low >= 0.0 ? std::max(0.0, extent.low - 0.5) : extent.low - 0.5, extent.high + 0.5}, false};
  }
  const double step = step_for(extent.high - extent.low, 5);
  return {{std::floor(extent.low / step) * step, std::ceil(extent.high / step) * step}, false};
}

std::vector<Tick> ticks(const Scale& scale, int count, bool whole) {
  std::vector<Tick> out;
  const auto [low, high] = scale.range;
  if (scale.log) {
    const double decades = std::log10(high / low);
    const int stride = std::max(1, static_cast<int>(std::ceil(decades / count)));
    const int first = static_cast<int>(std::floor(std::log10(low)));
    const int last = static_cast<int>(std::ceil(std::log10(high)));
    for (int power = first; power <= last; ++power) {
      for (const int digit : {1, 2, 5}) {
        const double value = digit * std::pow(10.0, power);
        if (value < low * 0.999 || value > high * 1.001) continue;
        const bool labelled = digit == 1 ? (power - first) % stride == 0 : decades < 1.6;
        if (digit == 1 || labelled) out.push_back({value, labelled ? tick_label(value, value) : ""});
      }
    }
    return out;
  }
  double step = step_for(high - low, count);
  if (whole) step = std::max(1.0, std::round(step));
  for (double index = std::ceil(low / step - 1e-9) + 0.0; index * step <= high + step * 1e-9; ++index) {
    out.push_back({index * step, tick_label(index * step, step)});
  }
  return out;
}

}  // namespace headroom::report
