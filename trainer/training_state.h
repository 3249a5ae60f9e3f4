// Where the training loop stands, beside the engine's tensors: what a checkpoint must hold for a resumed run to go on
// as if nothing had happened. The learning rate, TVR's turn and the data order follow from it and the config.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "trainer/bad_steps.h"
#include "trainer/metrics.h"

namespace headroom {

struct TrainingState {
  explicit TrainingState(const BadStepConfig& config) : history(config) {}

  std::int64_t step = 0;
  std::int64_t tokens = 0;    // trained on; steps that were not made count
  std::uint64_t samples = 0;  // of the training order, taken or left out so far
  // Samples that made bad steps before a rollback. Those behind stay until the end of the process, because another
  // rollback may come to them again; a checkpoint keeps those ahead of it.
  std::vector<SampleRange> left_out;
  std::int64_t rollbacks = 0;  // to step `rolled_back_to`, since the last new checkpoint
  std::int64_t rolled_back_to = 0;
  StepHistory history;
  // The record of `step` where a stop came between the step and the evaluation or snapshot that was due after it.
  std::optional<nlohmann::ordered_json> unfinished;
  MetricsPrefix metrics;  // as of the checkpoint

  // The first sample of the next step: `samples`, or behind what is to be left out there.
  std::uint64_t next_sample() const;
  // Step `step` + 1 has taken `count` samples from next_sample() on.
  void took(std::uint64_t count, std::int64_t tokens_of_step);

  nlohmann::ordered_json to_json() const;
  // Throws ExitCode::bad_checkpoint naming what is missing.
  void from_json(const nlohmann::ordered_json& json);
};

}  // namespace headroom
