// Takes a snapshot: the probe sequences through the model, what they show into one file (docs/snapshot-format.md).
//
//   SnapshotSession session(mesh, model_config, probe, config.snapshot);
//   session.run([&](const Batch& batch, ActivationTap& tap) { model.evaluate(batch, &tap); });
//   session.write("runs/NAME/snapshots/step-00000100.h5", provenance, model.parameters());
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>

#include "analysis/config.h"
#include "analysis/probe.h"
#include "analysis/snapshot_file.h"
#include "analysis/snapshot_tap.h"
#include "data/batches.h"
#include "model/config.h"
#include "model/parameters.h"
#include "parallel/mesh.h"

namespace headroom {

// One snapshot, from its first forward to its file. Every rank makes the same calls. The arguments of the constructor
// outlive the session.
class SnapshotSession {
 public:
  // `model` resolved.
  SnapshotSession(const Mesh& mesh, const ModelConfig& model, const ProbeSet& probe, const SnapshotConfig& config);

  // A forward in evaluation mode with this tap. The batch is one sequence, padded at its end to a multiple of the
  // tensor ranks (with copies of its last token, which causal attention keeps from the others); all targets are -1.
  // Ranks of one data rank get the same batch; data ranks get different sequences and may get different numbers of
  // them, so the forward must not communicate over mesh.data().
  using Forward = std::function<void(const Batch& batch, ActivationTap& tap)>;

  // Runs this data rank's share, sequences i with i % data ranks == data rank.
  // Throws ExitCode::bad_config for a sequence that padding makes longer than model.seq_len.
  void run(const Forward& forward);

  // Gathers everything to world rank 0, which writes. Returns the file's size in bytes, on every rank. Collective over
  // the mesh; when writing fails every rank throws the same Error.
  std::uintmax_t write(const std::filesystem::path& path, const SnapshotProvenance& provenance,
                       const ParameterStore& parameters);

 private:
  const Mesh& mesh_;
  const ModelConfig& model_;
  const ProbeSet& probe_;
  const SnapshotConfig& config_;
  SnapshotTap tap_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace headroom
