// The micro-batches of a step for one data rank, and the fingerprint of all ranks' tokens.
#pragma once

#include <vector>

#include "data/batches.h"
#include "parallel/mesh.h"
#include "trainer/config.h"

namespace headroom {

class StepData {
 public:
  // `config` as resolved_for leaves it. The token file must outlive the object.
  StepData(const TokenFile& tokens, const RunConfig& config, const Mesh& mesh);

  // This rank's micro-batches of step `step` (from 1). Data rank r reads samples
  // [(step-1) G + r G/D, ... + G/D) of the order, G the global batch.
  std::vector<Batch> read(std::int64_t step) const;

  // Global index of the first sample of a micro-batch.
  std::uint64_t first_sample(std::int64_t step, std::size_t micro_batch) const;

  // CRC-32 of the step's ids in global order, from every rank's own. Collective over the data axis.
  std::uint32_t crc(const std::vector<Batch>& micro_batches) const;

  // Passes over the corpus begun before step `step` is done.
  std::uint64_t epoch(std::int64_t step) const;

 private:
  const TokenFile* tokens_;
  const Mesh* mesh_;
  std::int64_t seq_len_;
  std::int64_t vocab_size_;
  std::int64_t global_batch_;
  std::int64_t micro_batch_;
  SampleOrder order_;
};

}  // namespace headroom
