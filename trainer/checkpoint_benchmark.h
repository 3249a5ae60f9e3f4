// What saving and going on cost: how long a step waits for a checkpoint, against a plain memory copy of the same bytes
// in the same run, and how long a run takes to go on from one.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "parallel/runtime.h"
#include "trainer/config.h"

namespace headroom {

// Medians; the slowest rank's.
struct CheckpointBenchmark {
  std::int64_t parameters = 0;
  std::int64_t copy_bytes = 0;      // of a rank's state
  std::int64_t bytes = 0;           // on the disk, all ranks
  double plain_copy_seconds = 0.0;  // one memcpy a tensor, by one thread, into memory that is there
  double stall_seconds = 0.0;       // what a step waits for, all of it
  double write_seconds = 0.0;       // from the copy to the complete checkpoint
  double read_seconds = 0.0;        // every byte of the files once, as a plain read
  double verify_seconds = 0.0;      // of going on: every byte against its hash
  double load_seconds = 0.0;        // and the tensors into the engine
};

// Saves an engine of `loaded` `rounds` times into `directory`, which must not exist and is removed at the end, and
// loads it as often. Collective.
CheckpointBenchmark benchmark_checkpoints(const RunConfig& loaded, const std::filesystem::path& directory, int rounds,
                                          ParallelRuntime& runtime);

nlohmann::ordered_json to_json(const CheckpointBenchmark& result);

}  // namespace headroom
