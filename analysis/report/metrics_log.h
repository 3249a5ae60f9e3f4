// A run's metrics.jsonl (docs/metrics.md) as series over the steps.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "analysis/report/unknown.h"

namespace headroom::report {

struct StepRecord {
  std::int64_t step = 0;
  double tokens = 0.0;
  double loss = kUnknown;
  double tokens_per_second = kUnknown;
  // One value a layer; empty where the line has none.
  std::vector<double> layer_max, layer_median, layer_ratio, kv_bias_mass, alpha_attention, alpha_mlp;
};

struct EvalPoint {
  std::int64_t step = 0;
  double tokens = 0.0;  // seen in training so far
  double loss = kUnknown;
  double perplexity = kUnknown;
  double held_out_tokens = 0.0;
};

struct TvrEvent {
  std::int64_t step = 0;
  double rescaled = 0.0;  // of `matrices`
  double matrices = 0.0;
  double max_ratio = kUnknown;  // largest standard deviation over its target, before
};

// Of the tokens/s of all steps but the first, which warms up.
struct Speed {
  double median = kUnknown, lower_quartile = kUnknown, upper_quartile = kUnknown;
};

struct MetricsLog {
  nlohmann::json run;  // the first line's provenance; null without one
  std::vector<StepRecord> steps;
  std::vector<EvalPoint> evaluations;
  std::vector<TvrEvent> tvr;
  std::string remark;  // what was left out of the file, and why; empty if nothing

  Speed speed() const;
  // Mean of the last twentieth of the steps up to `tokens` training tokens; NaN when there are none.
  double smoothed_loss_at(double tokens) const;
  // The evaluation at exactly this many training tokens; nullptr without one.
  const EvalPoint* evaluation_at(double tokens) const;
};

// A cut-off last line (the run was killed or still writes) is left out with a remark; steps that a resumed run did
// again replace the earlier ones. Throws ExitCode::bad_data naming file and line for anything else that is no record.
MetricsLog read_metrics(const std::filesystem::path& file);

}  // namespace headroom::report
