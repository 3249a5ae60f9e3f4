// Target Variance Rescaling (arXiv 2503.17500; reference section 3): every so many steps each weight matrix of a
// block whose standard deviation grew beyond threshold * target is shrunk about its mean back to the target; none
// grows.
#pragma once

#include <cstdint>

#include "optim/adamw.h"

namespace headroom {

// What one application did: the evidence in the metrics.
struct TvrReport {
  std::int64_t matrices = 0;
  std::int64_t rescaled = 0;
  double max_ratio = 0.0;  // largest std / target before
  double mean_std = 0.0;   // over the matrices, after
};

class Tvr {
 public:
  // All references must outlive the object.
  Tvr(const ParameterStore& store, const OptimizerShard& shard, const Mesh& mesh, const OptimConfig& config);

  // Takes tables and sums out of an arena; nothing when TVR is off.
  void allocate(Arena& arena);

  // Whether it applies after optimizer step `step` (from 1): a function of the step alone.
  bool due(std::int64_t step) const { return config_.tvr.enabled && step % config_.tvr.interval == 0; }

  // Rescales this rank's shard of every matrix by the statistics of the whole logical matrix; the biases of rescaled
  // matrices become 0. Adam's moments stay. Does nothing when `scale`, f64 [1], is negative. Collective over the
  // world; call before gather_parameters. Does not wait for a GPU.
  void apply(const Weights& weights, const Tensor& scale);
  // What the last application did. Waits for it.
  TvrReport report() const;

 private:
  const ParameterStore* store_;
  const Mesh* mesh_;
  OptimConfig config_;
  std::vector<double> targets_;  // a parameter; 0 where TVR does not apply
  PieceTable matrices_;
  PieceTable rescaled_;  // matrices and the biases that go with them

  // f64 [parameters]
  Tensor elements_;
  Tensor freedom_;
  Tensor target_;
  Tensor mean_;
  Tensor squares_;
  Tensor std_;
  Tensor factor_;
};

}  // namespace headroom
