// The optimizer's settings, with the defaults of reference section 4.
#pragma once

#include <cstdint>

namespace headroom {

// How Adam's moments are kept: as the gradients are (f32, f64), or in bf16, which halves f32's memory.
enum class MomentFormat : std::uint8_t { wide, bf16 };

enum class ScheduleKind : std::uint8_t { cosine, linear, wsd, constant };

struct OptimConfig {
  double lr = 6e-4;
  double min_lr = 6e-5;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-7;
  double weight_decay = 0.1;
  double clip = 1.0;  // global gradient norm; 0 switches clipping off
  MomentFormat moments = MomentFormat::wide;

  struct {
    ScheduleKind kind = ScheduleKind::cosine;
    std::int64_t warmup_steps = 0;
    std::int64_t warmup_tokens = 0;  // used when warmup_steps is 0
    double decay_fraction = 0.2;     // of the run, for WSD's final decay
  } schedule;

  // Target Variance Rescaling (arXiv 2503.17500), reference section 3.
  struct {
    bool enabled = false;
    std::int64_t interval = 50;  // optimizer steps
    double threshold = 1.2;      // rescale when std / target exceeds it
    double target = 0.01;
    bool layer_scaled = false;  // target / sqrt(layer), 1-based
  } tvr;
};

}  // namespace headroom
