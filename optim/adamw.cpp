#include "optim/adamw.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "tensor/transfer.h"

namespace headroom {

AdamW::AdamW(ParameterStore& store, const OptimizerShard& shard, const Mesh& mesh, const OptimConfig& config)
    : store_(&store),
      shard_(&shard),
      mesh_(&mesh),
      config_(config),
      all_(shard,
           [&](const Segment& segment) {
             return PieceRole{.flags = store[segment.parameter].decay ? Piece::kDecay : 0};
           }),
      counted_(shard, [&](const Segment& segment) {
        // A replicated parameter's gradient is alike on all tensor ranks.
        const bool replicated = store[segment.parameter].partition == Partition::replicated;
        return PieceRole{.included = !replicated || mesh.tensor().rank() == 0};
      }) {}

void AdamW::allocate(Arena& arena) {
  const DType wide = accumulator_of(store_->dtype());
  const DType moments = config_.moments == MomentFormat::bf16 ? DType::bf16 : wide;
  const auto take = [&](DType dtype, const char* category) {
    return arena.take({shard_->state_elements()}, dtype, category);
  };
  first_ = take(moments, "moments");
  second_ = take(moments, "moments");
  if (store_->dtype() != wide) master_ = take(wide, "master weights");
  all_.allocate(arena);
  counted_.allocate(arena);
}

void AdamW::set_master(const Parameter& parameter, std::span<const float> values) {
  if (!master_.present()) return;
  for (const Segment& segment : shard_->segments()) {
    if (&(*store_)[segment.parameter] != &parameter) continue;
    upload(values.subspan(static_cast<std::size_t>(segment.flat - parameter.offset),
                          static_cast<std::size_t>(segment.length)),
           master_.flat_range(segment.state, segment.length));
  }
}

void AdamW::sum_of_squares(Tensor squares) const {
  ops::zero(squares);
  ops::piece_sums(Weights{store_->gradients(), {}}, counted_.tensor(), Tensor(), 2, squares);
  all_reduce_over(*mesh_, squares);
}

void AdamW::update(std::int64_t step, double lr, const Tensor& scale) {
  const AdamWStep constants{.lr = lr,
                            .beta1 = config_.beta1,
                            .beta2 = config_.beta2,
                            .eps = config_.eps,
                            .weight_decay = config_.weight_decay,
                            .bias_correction1 = 1.0 - std::pow(config_.beta1, static_cast<double>(step)),
                            .bias_correction2 = 1.0 - std::pow(config_.beta2, static_cast<double>(step))};
  ops::adamw(store_->gradients(), all_.tensor(), constants, scale, weights(), first_, second_);
}

void all_reduce_over(const Mesh& mesh, const Tensor& x) {
  mesh.tensor().all_reduce(x, Reduction::sum);
  mesh.data().all_reduce(x, Reduction::sum);
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
