// A step's sequences for tests of the engine: the same ones at every layout, cut into micro-batches.
#pragma once

#include <algorithm>
#include <vector>

#include "tests/model/tiny_model.h"
#include "trainer/config.h"

namespace headroom {

// This data rank's share of a step's train.global_batch sequences, as micro-batches of train.micro_batch. `rotation`
// makes one step's ids differ from another's.
inline std::vector<Batch> batches_of_step(const RunConfig& config, const Mesh& mesh, std::int64_t rotation = 0) {
  Batch whole = tiny::batch(config.train.global_batch, config.model.seq_len, config.model.vocab_size);
  std::rotate(whole.ids.begin(), whole.ids.begin() + rotation, whole.ids.end());
  const std::int64_t sequences = config.train.micro_batch;
  const std::int64_t seq = config.model.seq_len;
  const std::int64_t share = config.train.global_batch / mesh.data().size();
  std::vector<Batch> batches;
  for (std::int64_t done = 0; done < share; done += sequences) {
    const std::int64_t first = (mesh.data().rank() * share + done) * seq;
    const auto slice = [&](const std::vector<std::int32_t>& all) {
      return std::vector<std::int32_t>(all.begin() + first, all.begin() + first + sequences * seq);
    };
    batches.push_back({sequences, seq, slice(whole.ids), slice(whole.targets)});
  }
  return batches;
}

}  // namespace headroom
