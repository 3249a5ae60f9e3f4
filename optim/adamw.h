// AdamW with its state cut over the data ranks, and the gradient's norm. With bf16 weights the state also holds the
// f32 originals of the rank's shard (master weights); the bf16 values are their rounded copies.
#pragma once

#include "optim/config.h"
#include "optim/pieces.h"
#include "parallel/mesh.h"

namespace headroom {

class AdamW {
 public:
  // All references must outlive the optimizer.
  AdamW(ParameterStore& store, const OptimizerShard& shard, const Mesh& mesh, const OptimConfig& config);

  // Takes moments (zero), master weights and tables of this rank's shard out of an arena.
  void allocate(Arena& arena);
  // Sets the shard's master weights of a parameter, from this tensor rank's whole part of it. Only where there are any.
  void set_master(const Parameter& parameter, std::span<const float> values);

  // squares f64 [1] = the sum of squares of the whole gradient, each logical element counted once. Collective; the same
  // on every rank. Does not wait for a GPU.
  void sum_of_squares(Tensor squares) const;

  // Updates this rank's shard of the parameters. `step` counts from 1; `scale` f64 [1] multiplies the gradient, and
  // changes nothing when negative.
  void update(std::int64_t step, double lr, const Tensor& scale);

  // What the optimizer changes: master weights if there are any, and values.
  Weights weights() const { return {store_->values(), master_}; }

  // This rank's state, flat, for checkpoints; master is absent unless values are bf16.
  Tensor first_moment() const { return first_; }
  Tensor second_moment() const { return second_; }
  Tensor master() const { return master_; }

 private:
  ParameterStore* store_;
  const OptimizerShard* shard_;
  const Mesh* mesh_;
  OptimConfig config_;
  PieceTable all_;
  PieceTable counted_;  // in the norm
  Tensor first_;
  Tensor second_;
  Tensor master_;
};

// x = the sum over all ranks, on the device the mesh was made for.
void all_reduce_over(const Mesh& mesh, const Tensor& x);

// Every data rank's updated slots to every rank. Collective over mesh.data().
void gather_parameters(const ParameterStore& store, const OptimizerShard& shard, const Mesh& mesh);

}  // namespace headroom
