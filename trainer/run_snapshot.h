// A run's snapshots: its probe sequences, chosen once, and its provenance around analysis/snapshot.h.
#pragma once

#include <filesystem>
#include <optional>

#include "analysis/probe.h"
#include "data/corpus.h"
#include "data/tokenizer.h"
#include "model/transformer.h"
#include "trainer/checkpoint_manifest.h"
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
  // With these sequences instead.
  RunSnapshots(const RunConfig& config, const Corpus& corpus, ProbeSet probe);

  // What the probe set could not have and why.
  const std::vector<std::string>& notes() const { return probe_.notes; }

  // Runs the probe through the model as it is after `step` and writes `directory`/step-NNNNNNNN.h5. Nothing when a rank
  // was asked to stop meanwhile (trainer/stop_request.h). Collective; throws as SnapshotSession, on every rank.
  std::optional<SnapshotReceipt> take(const std::filesystem::path& directory, std::int64_t step, std::int64_t tokens,
                                      const CheckpointIdentity& identity, Transformer& model, const Mesh& mesh) const;

 private:
  RunConfig config_;
  std::string tokenizer_fingerprint_;
  ProbeSet probe_;
};

}  // namespace headroom
