// Gradients summed over the data ranks while the backward still runs: each bucket's reduce-scatter starts when its
// last gradient is final and moves along between the backward's products.
#pragma once

#include <memory>
#include <vector>

#include "optim/shard.h"
#include "parallel/mesh.h"

namespace headroom {

class GradientReduction {
 public:
  GradientReduction(ParameterStore& store, const OptimizerShard& shard, const Mesh& mesh)
      : store_(&store), shard_(&shard), mesh_(&mesh) {}

  // The tensor-parallel gradients before `flat_end` are final: starts their buckets, pushes the running ones along.
  // Call it often, with the same `flat_end` too: what was received is added up, and room for more is made, only here.
  void ready(std::int64_t flat_end);

  // After the backward: sums the replicated gradients over the tensor ranks, starts what is left, waits for all.
  // Then every rank's own slots hold the sums over all data ranks.
  void finish();

 private:
  void start_until(std::int64_t flat_end);

  ParameterStore* store_;
  const OptimizerShard* shard_;
  const Mesh* mesh_;
  std::size_t started_ = 0;  // buckets under way or done
  std::vector<std::unique_ptr<Pending>> pending_;
};

}  // namespace headroom
