#include "trainer/bad_steps.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace headroom {
namespace {

constexpr double kLeastDeviation = 1e-3;  // of the mean

double limit_of(const std::deque<double>& window, double spike) {
  const auto count = static_cast<double>(window.size());
  double mean = 0.0;
  for (const double value : window) mean += value / count;
  double variance = 0.0;
  for (const double value : window) variance += (value - mean) * (value - mean) / count;
  return mean + spike * std::max(std::sqrt(variance), kLeastDeviation * std::abs(mean));
}

void push(std::deque<double>& window, double value, std::int64_t size) {
  window.push_back(value);
  while (static_cast<std::int64_t>(window.size()) > size) window.pop_front();
}

}  // namespace

StepLimits StepHistory::limits() const {
  const bool known = 2 * static_cast<std::int64_t>(losses_.size()) >= config_.window;
  if (config_.spike == 0.0 || !known) return {};
  return {.loss = limit_of(losses_, config_.spike), .norm = limit_of(norms_, config_.spike)};
}

std::string StepHistory::reason(double loss, double norm) const {
  if (!std::isfinite(loss) || !std::isfinite(norm)) {
    return fmt::format("loss {} and gradient norm {} are not both finite", loss, norm);
  }
  const StepLimits limit = limits();
  const bool by_loss = loss > limit.loss;
  return fmt::format("{} {:.4g} is beyond {:.4g}, {} standard deviations above the last {} steps' mean",
                     by_loss ? "loss" : "gradient norm", by_loss ? loss : norm, by_loss ? limit.loss : limit.norm,
                     config_.spike, losses_.size());
}

void StepHistory::good(double loss, double norm) {
  bad_.clear();
  push(losses_, loss, config_.window);
  push(norms_, norm, config_.window);
}

void StepHistory::bad(std::int64_t step, SampleRange samples) {
  bad_.push_back({step, samples});
}

nlohmann::ordered_json StepHistory::to_json() const {
  nlohmann::ordered_json bad = nlohmann::ordered_json::array();
  for (const BadStep& step : bad_) bad.push_back({step.step, step.samples.first, step.samples.count});
  return {{"losses", losses_}, {"grad_norms", norms_}, {"bad", std::move(bad)}};
}

void StepHistory::from_json(const nlohmann::ordered_json& json) {
  losses_ = json.at("losses").get<std::deque<double>>();
  norms_ = json.at("grad_norms").get<std::deque<double>>();
  bad_.clear();
  for (const auto& row : json.at("bad")) bad_.push_back({row.at(0), {row.at(1), row.at(2)}});
}

}  // namespace headroom
