// A training run from configuration to finished directory, and a step of it once more.
#pragma once

#include <filesystem>
#include <string>

#include "parallel/runtime.h"
#include "trainer/config.h"

namespace headroom {

struct TrainOptions {
  bool resume = false;           // go on from the run directory's newest whole checkpoint
  bool accept_mismatch = false;  // also from one of another config or corpus
};

// How a run ended: at its last step, or before because it was asked to stop; then a checkpoint holds everything to go
// on from, unless the stop came before the first step.
enum class RunEnd : std::uint8_t { finished, stopped };

// Trains as `loaded` (as read, not yet resolved) says, on all ranks of the runtime. Collective. Throws Error with the
// exit codes of docs/exit-codes.md.
RunEnd train(const RunConfig& loaded, const TrainOptions& options, ParallelRuntime& runtime);

struct RerunOptions {
  std::int64_t step = 0;
  std::int64_t raw_samples = 4;        // of the step's sequences, whose raw hidden states are kept
  std::vector<std::string> overrides;  // of the run's config: layout, device, corpus path
};

// Re-executes step `options.step` of the run in `run_directory` from the nearest checkpoint before it, and writes
// snapshots of the model before and after it over the step's own sequences to RUN/reruns/step-NNNNNNNN/snapshots. The
// text says where, and how loss, gradient norm and data compare with what the run recorded. Collective; the same on
// every rank. Throws Error: ExitCode::bad_config for a step that the run cannot have, else as train.
std::string rerun(const std::filesystem::path& run_directory, const RerunOptions& options, ParallelRuntime& runtime);

}  // namespace headroom
