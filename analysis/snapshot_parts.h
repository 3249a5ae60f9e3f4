// What one rank contributes to a snapshot, as a message, and how the ranks' contributions become the whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "analysis/attention_probe.h"
#include "analysis/config.h"
#include "analysis/probe.h"
#include "analysis/snapshot_file.h"
#include "analysis/statistics.h"
#include "model/config.h"

namespace headroom {

// One site of one layer for one probe sequence.
struct HiddenPart {
  Site site = Site::block_output;
  std::int64_t layer = 0;
  std::int64_t sequence = 0;
  HiddenStatistics statistics;
  std::vector<float> raw;  // [n, d], where the file keeps it: residual stream of probe sentences
};

// One head of one layer for one probe sequence.
struct HeadPart {
  std::int64_t layer = 0;
  std::int64_t sequence = 0;
  std::int64_t head = 0;  // of the model
  HeadMasses masses;
  std::vector<float> map;   // [n, n], for probe sentences
  std::vector<float> bias;  // [n], for probe sentences of a model with a KV bias
};

struct SnapshotParts {
  std::vector<HiddenPart> hidden;
  std::vector<HeadPart> heads;
};

std::vector<std::byte> pack(const SnapshotParts& parts);
// Throws ExitCode::communication for a message that is too short or too long.
SnapshotParts unpack(std::span<const std::byte> message);

// The arrays under raw/INDEX; see docs/snapshot-format.md for the shapes.
struct RawSequence {
  std::int64_t sequence = 0;
  std::int64_t tokens = 0;
  std::vector<float> block_output;
  std::vector<float> embedding_output;
  std::vector<float> attention;
  std::vector<float> attention_bias;  // empty without a KV bias
};

struct AssembledSnapshot {
  SnapshotFile file;  // dims, probe, sites and attention filled
  std::vector<RawSequence> raw;
};

// Throws ExitCode::internal unless every site, layer, head and sequence came exactly once.
AssembledSnapshot assemble(const ModelConfig& model, const ProbeSet& probe, const SnapshotConfig& config,
                           const std::vector<SnapshotParts>& ranks);

}  // namespace headroom
