// Saving a run and going on from it, at the same layout.
//
//   checkpoints/step-00000500/manifest.json     written last: step, tokens, layout, fingerprints, files and sizes
//   checkpoints/step-00000500/rank-00000.h5     a file a rank: moments/{first,second} and, with bf16 weights, master
//                                               of its optimizer shard; with data rank 0 also parameters/NAME, the
//                                               tensor rank's own slice
//
// A checkpoint is made in step-00000500.partial and renamed when everything is on disk.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "trainer/engine.h"

namespace headroom {

// Where training stands; the data position follows from the step.
struct TrainingPosition {
  std::int64_t step = 0;
  std::int64_t tokens = 0;
};

// What a checkpoint belongs to. Loading refuses another config or corpus by name.
struct CheckpointIdentity {
  std::string config_fingerprint;
  std::string corpus_fingerprint;  // of both splits and the tokenizer
  std::string commit;
};

struct CheckpointReceipt {
  std::filesystem::path path;
  std::int64_t bytes = 0;
  double seconds = 0.0;
};

// Writes `directory`/step-NNNNNNNN and removes all but the newest `keep`. Collective. Throws ExitCode::disk_full.
CheckpointReceipt save_checkpoint(const std::filesystem::path& directory, const TrainingPosition& position,
                                  const CheckpointIdentity& identity, Engine& engine, const Mesh& mesh,
                                  std::int64_t keep);

// The newest complete checkpoint in a directory.
std::optional<std::filesystem::path> latest_checkpoint(const std::filesystem::path& directory);

// Fills parameters and moments. Collective. Throws ExitCode::bad_checkpoint naming file and reason: missing or
// truncated files, another layout, config or corpus.
TrainingPosition load_checkpoint(const std::filesystem::path& checkpoint, const CheckpointIdentity& identity,
                                 Engine& engine, const Mesh& mesh);

// Every logical parameter of a checkpoint, put together from the tensor ranks' slices, as float64; for comparisons.
struct LogicalTensor {
  std::string name;
  std::vector<double> values;
};
std::vector<LogicalTensor> read_parameters(const std::filesystem::path& checkpoint);

}  // namespace headroom
