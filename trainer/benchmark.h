// How fast a config's training step is on this machine, and against what: the time that the step's own matrix
// products alone would need.
#pragma once

#include <nlohmann/json.hpp>

#include "parallel/runtime.h"
#include "trainer/config.h"

namespace headroom {

// One benchmark; times are medians over the steps, the slowest rank's.
struct BenchmarkResult {
  std::int64_t steps = 0;
  double step_seconds = 0.0;
  double tokens_per_second = 0.0;
  double flops_per_second = 0.0;  // of the model (docs/metrics.md), all ranks
  // The step's matrix products alone: on the CPU made again; on a GPU the model's FLOPs at the data sheet's peak, 0 if
  // the GPU is unknown.
  double product_seconds = 0.0;
  double speed_of_light = 0.0;          // product_seconds / step_seconds; on a GPU that is the MFU
  std::int64_t peak_memory_bytes = 0;   // largest rank
  std::int64_t communicated_bytes = 0;  // sent by a rank in a step
  double communicated_formula = 0.0;    // what trainer/communication_formula.h says
  double host_waits = 0.0;              // for the GPU, in a step
  double monitor_share = 0.0;           // of the step; on a GPU from steps with and without it, by turns
  double snapshot_seconds = 0.0;        // of one with the config's probe sizes
  std::int64_t parameters = 0;
  Layout layout;
  int threads = 1;
};

// Trains loaded.train.steps steps on random tokens, after two that do not count. No corpus, no run directory.
// Collective. Throws as train does.
BenchmarkResult run_benchmark(const RunConfig& loaded, ParallelRuntime& runtime);

// The keys that bench/ reads: tokens_per_second, step_seconds, gemm_seconds, speed_of_light, peak_memory_bytes,
// flops_per_second, comm_bytes, comm_bytes_formula, monitor_share, snapshot_seconds, parameters, layout, threads,
// steps.
nlohmann::ordered_json to_json(const BenchmarkResult& result);

}  // namespace headroom
