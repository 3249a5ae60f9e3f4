// AdamW with its state cut over the data ranks, and global-norm clipping.
#pragma once

#include "optim/config.h"
#include "optim/shard.h"
#include "parallel/mesh.h"

namespace headroom {

class AdamW {
 public:
  // Allocates both moments for this rank's shard, zero. All references must outlive the optimizer.
  AdamW(ParameterStore& store, const OptimizerShard& shard, const Mesh& mesh, const OptimConfig& config);

  // The norm of the whole gradient, each logical element counted once. Collective; the same on every rank.
  double gradient_norm() const;

  // Updates this rank's shard of the parameters. `step` counts from 1; `grad_scale` multiplies the gradient.
  void update(std::int64_t step, double lr, double grad_scale);

  // This rank's moments, flat, for checkpoints.
  Tensor first_moment() const { return first_; }
  Tensor second_moment() const { return second_; }

 private:
  ParameterStore* store_;
  const OptimizerShard* shard_;
  const Mesh* mesh_;
  OptimConfig config_;
  Buffer memory_;
  Tensor first_;
  Tensor second_;
};

// What to multiply gradients by so that their norm is at most `clip`; 1 when clip is 0.
double clip_scale(double norm, double clip);

// Every data rank's updated slots to every rank. Collective over mesh.data().
void gather_parameters(const ParameterStore& store, const OptimizerShard& shard, const Mesh& mesh);

}  // namespace headroom
