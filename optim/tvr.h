// Target Variance Rescaling (arXiv 2503.17500; reference section 3): every so many steps each weight matrix of a
// block whose standard deviation grew beyond threshold * target is shrunk about its mean back to the target; none
// grows.
#pragma once

#include <cstdint>

#include "optim/config.h"
#include "optim/shard.h"
#include "parallel/mesh.h"

namespace headroom {

// What one application did: the evidence in the metrics.
struct TvrReport {
  std::int64_t matrices = 0;
  std::int64_t rescaled = 0;
  double max_ratio = 0.0;  // largest std / target before
  double mean_std = 0.0;   // over the matrices, after
};

// Whether TVR applies after optimizer step `step` (from 1): a function of the step alone.
bool tvr_due(const OptimConfig& config, std::int64_t step);

// Rescales this rank's shard of every matrix by the statistics of the whole logical matrix; the biases of rescaled
// matrices become 0. Adam's moments stay. Collective over the world; call before gather_parameters.
TvrReport apply_tvr(ParameterStore& store, const OptimizerShard& shard, const Mesh& mesh, const OptimConfig& config);

}  // namespace headroom
