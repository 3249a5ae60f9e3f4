// A run's snapshots: its probe sequences, chosen once, and its provenance around analysis/snapshot.h.
#pragma once

#include <filesystem>
#include <optional>

#include "analysis/probe.h"
#include "data/corpus.h"
#include "data/tokenizer.h"
#include "trainer/checkpoint.h"
#include "trainer/config.h"

namespace headroom {

struct SnapshotReceipt {
  std::filesystem::path path;
  std::int64_t bytes = 0;
  double seconds = 0.0;
};

class RunSnapshots {
 public:
  // Chooses the probe sequences from the config's sentences and the corpus' held-out split. `config` as resolved_for
  // leaves it. Throws as build_probe_set does.
  RunSnapshots(const RunConfig& config, const Corpus& corpus);

  // What the probe set could not have and why.
  const std::vector<std::string>& notes() const { return probe_.notes; }

  // Runs the probe through the model and writes `directory`/step-NNNNNNNN.h5. Collective; throws as SnapshotSession.
  SnapshotReceipt take(const std::filesystem::path& directory, const TrainingPosition& position,
                       const CheckpointIdentity& identity, Transformer& model, const Mesh& mesh) const;

 private:
  RunConfig config_;
  std::string tokenizer_fingerprint_;
  ProbeSet probe_;
};

}  // namespace headroom
