// A training run from configuration to finished directory: the loop around trainer/engine.h and everything that
// happens every so often.
//
//   per step: data -> engine step -> [evaluation] -> [snapshot] -> [checkpoint] -> one metrics record
#pragma once

#include <filesystem>
#include <string>

#include "parallel/runtime.h"
#include "trainer/config.h"

namespace headroom {

struct TrainOptions {
  bool resume = false;  // go on from the run directory's newest checkpoint
};

// Trains as `loaded` (as read, not yet resolved) says, on all ranks of the runtime. Collective. Throws Error with
// the exit codes of docs/exit-codes.md. Returns the run's directory.
std::filesystem::path train(const RunConfig& loaded, const TrainOptions& options, ParallelRuntime& runtime);

}  // namespace headroom
