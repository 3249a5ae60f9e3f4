// A run's metrics.jsonl (docs/metrics.md) as series over the steps.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

namespace headroom::report {

inline constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

struct StepRecord {
  std::int64_t step = 0;
  double tokens = 0.0;
  double loss = kUnknown;
  double tokens_per_second = kUnknown;
  // One value a layer; empty where the line has none.
  std::vector<double> layer_max, layer_ratio, kv_bias_mass, alpha_attention, alpha_mlp;
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
  double rescaled = 0.0;
  double matrices = 0.0;
  double max_ratio = kUnknown;
};

struct MetricsLog {
  nlohmann::json run;  // the first line's provenance; null without one
  std::vector<StepRecord> steps;
  std::vector<EvalPoint> evaluations;
  std::vector<TvrEvent> tvr;
  std::string remark;  // what was left out of the file, and why; empty if nothing

  // Median over all steps but the first; NaN when unknown.
  double typical_tokens_per_second() const;
  // Mean of the last twentieth of the steps up to `tokens` training tokens; NaN when there are none.
  double smoothed_loss_at(double tokens) const;
  // The last evaluation at or before `tokens` training tokens; nullptr when there is none.
  const EvalPoint* evaluation_at(double tokens) const;
};

// A cut-off last line (the run was killed or still writes) is left out with a remark; steps that a resumed run did
// again replace the earlier ones. Throws ExitCode::bad_data naming file and line for anything else that is no record.
MetricsLog read_metrics(const std::filesystem::path& file);

}  // namespace headroom::report
