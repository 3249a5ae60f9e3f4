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

  // This rank's micro-batches of the step that takes samples [first, first + G) of the order, G the global batch: data
  // rank r reads [first + r G/D, ... + G/D).
  std::vector<Batch> read(std::uint64_t first) const;

  // All G samples of the step, whatever the layout, in micro-batches.
  std::vector<Batch> whole_step(std::uint64_t first) const;

  // Which of the step's G samples a micro-batch of this rank begins with.
  std::int64_t first_of(std::size_t micro_batch) const;

  // CRC-32 of the step's ids in global order, from every rank's own. Collective over the data axis.
  std::uint32_t crc(const std::vector<Batch>& micro_batches) const;

  // Passes over the corpus finished before the last sample of the step that begins with sample `first`.
  std::uint64_t epoch(std::uint64_t first) const;

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
