#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace headroom {
namespace {

// How far `step` is on the way from `begin` (0) to `end` (1).
double share(std::int64_t step, std::int64_t begin, std::int64_t end) {
  return static_cast<double>(step - begin) / static_cast<double>(end - begin);
}

}  // namespace

std::int64_t warmup_steps(const OptimConfig& config, std::int64_t tokens_per_step) {
  HEADROOM_CHECK(tokens_per_step > 0, "{} tokens a step", tokens_per_step);
  if (config.schedule.warmup_steps > 0) return config.schedule.warmup_steps;
  const std::int64_t tokens = config.schedule.warmup_tokens;
  return tokens / tokens_per_step + (tokens % tokens_per_step != 0 ? 1 : 0);
}

double learning_rate(const OptimConfig& config, std::int64_t step, std::int64_t total_steps,
                     std::int64_t tokens_per_step) {
  HEADROOM_CHECK(step >= 1 && step <= total_steps, "step {} of {}", step, total_steps);
  const std::int64_t warmup = warmup_steps(config, tokens_per_step);
  if (step <= warmup) return config.lr * static_cast<double>(step) / static_cast<double>(warmup);
  const auto linear_from = [&](std::int64_t begin) {
    return config.lr + (config.min_lr - config.lr) * share(step, begin, total_steps);
  };
  switch (config.schedule.kind) {
    case ScheduleKind::cosine: {
      const double p = share(step, warmup, total_steps);
      return config.min_lr + (config.lr - config.min_lr) * 0.5 * (1.0 + std::cos(std::numbers::pi * p));
    }
    case ScheduleKind::linear:
      return linear_from(warmup);
    case ScheduleKind::wsd: {
      const std::int64_t decay =
          std::max<std::int64_t>(1, std::llround(config.schedule.decay_fraction * static_cast<double>(total_steps)));
      const std::int64_t begin = std::max(warmup, total_steps - decay);
      return step <= begin ? config.lr : linear_from(begin);
    }
    case ScheduleKind::constant:
      return config.lr;
  }
  HEADROOM_CHECK(false, "unknown schedule");
}

}  // namespace headroom
