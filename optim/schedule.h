// The learning rate of each step.
#pragma once

#include <cstdint>

#include "optim/config.h"

namespace headroom {

// Steps of linear warm-up: schedule.warmup_steps, or as many as see schedule.warmup_tokens tokens.
std::int64_t warmup_steps(const OptimConfig& config, std::int64_t tokens_per_step);

// The learning rate of optimizer step `step` in [1, total_steps]. With w warm-up steps:
//
//   step <= w:  lr * step / w
//   step > w:   with p = (step - w) / (total_steps - w), so that the last step has p = 1,
//     cosine    min_lr + (lr - min_lr) * (1 + cos(pi p)) / 2
//     linear    lr + (min_lr - lr) * p
//     wsd       lr, then linear to min_lr over the last decay_fraction of all steps (but not before w)
//     constant  lr
double learning_rate(const OptimConfig& config, std::int64_t step, std::int64_t total_steps,
                     std::int64_t tokens_per_step);

}  // namespace headroom
