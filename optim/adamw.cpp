#include "optim/adamw.h"

#include <cmath>
#include <memory>

#include "tensor/ops.h"

namespace headroom {

AdamW::AdamW(ParameterStore& store, const OptimizerShard& shard, const Mesh& mesh, const OptimConfig& config)
    : store_(&store), shard_(&shard), mesh_(&mesh), config_(config) {
  const DType dtype = store.values().dtype();
  const std::int64_t elements = shard.state_elements();
  memory_ = Buffer(static_cast<std::size_t>(2 * elements) * size_of(dtype), store.values().device(), "Adam's moments");
  const Tensor both = memory_.tensor({2 * elements}, dtype);
  first_ = both.flat_range(0, elements);
  second_ = both.flat_range(elements, elements);
}

double AdamW::gradient_norm() const {
  const Tensor gradients = store_->gradients();
  const bool counts_replicated = mesh_->tensor().rank() == 0;
  double squares = 0.0;
  for (const Segment& segment : shard_->segments()) {
    const bool replicated = (*store_)[segment.parameter].partition == Partition::replicated;
    if (replicated && !counts_replicated) continue;
    squares += ops::sum_of_squares(gradients.flat_range(segment.flat, segment.length), 0.0);
  }
  mesh_->world().all_reduce(std::span<double>(&squares, 1), Reduction::sum);
  return std::sqrt(squares);
}

void AdamW::update(std::int64_t step, double lr, double grad_scale) {
  AdamWStep constants{.lr = lr,
                      .beta1 = config_.beta1,
                      .beta2 = config_.beta2,
                      .eps = config_.eps,
                      .weight_decay = 0.0,
                      .bias_correction1 = 1.0 - std::pow(config_.beta1, static_cast<double>(step)),
                      .bias_correction2 = 1.0 - std::pow(config_.beta2, static_cast<double>(step)),
                      .grad_scale = grad_scale};
  const Tensor values = store_->values();
  const Tensor gradients = store_->gradients();
  for (const Segment& segment : shard_->segments()) {
    constants.weight_decay = (*store_)[segment.parameter].decay ? config_.weight_decay : 0.0;
    ops::adamw(gradients.flat_range(segment.flat, segment.length), constants,
               values.flat_range(segment.flat, segment.length), first_.flat_range(segment.state, segment.length),
               second_.flat_range(segment.state, segment.length));
  }
}

double clip_scale(double norm, double clip) {
  return clip > 0.0 && norm > clip ? clip / norm : 1.0;
}

void gather_parameters(const ParameterStore& store, const OptimizerShard& shard, const Mesh& mesh) {
  if (mesh.data().size() == 1) return;
  const Tensor values = store.values();
  std::vector<std::unique_ptr<Pending>> pending;
  for (const Bucket& bucket : store.buckets()) {
    const Bucket own = shard.slot(bucket);
    pending.push_back(mesh.data().all_gather_async(values.flat_range(own.offset, own.size),
                                                   values.flat_range(bucket.offset, bucket.size)));
  }
  for (const auto& gather : pending) gather->wait();
}

}  // namespace headroom
