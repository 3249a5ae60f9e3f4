// One line of metrics.jsonl (docs/metrics.md) from what a step left behind.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "trainer/engine.h"

namespace headroom {

struct StepRecord {
  std::int64_t step = 0;
  std::uint64_t epoch = 0;
  std::int64_t tokens = 0;  // seen so far
  std::int64_t step_tokens = 0;
  StepOutcome outcome;
  double lr = 0.0;
  double seconds = 0.0;
  std::int64_t memory_bytes = 0;
  std::uint32_t batch_crc = 0;
  std::int64_t data_bytes = 0;     // sent in this step
  std::int64_t tensor_bytes = 0;   //
  std::optional<double> mfu;       // where the devices' peak is known
  double waited = 0.0;             // seconds in communication that computing did not hide
  std::vector<double> dyt_alphas;  // as Transformer::dyt_alphas: two a layer, then the final norm's
};

nlohmann::ordered_json to_json(const StepRecord& record);

}  // namespace headroom
