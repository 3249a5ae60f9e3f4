#include "optim/gradient_reduction.h"

namespace headroom {

void GradientReduction::start_until(std::int64_t flat_end) {
  const std::vector<Bucket>& buckets = store_->buckets();
  const Tensor gradients = store_->gradients();
  for (; started_ < buckets.size(); ++started_) {
    const Bucket& bucket = buckets[started_];
    if (bucket.offset + bucket.size > flat_end) return;
    const Bucket own = shard_->slot(bucket);
    pending_.push_back(mesh_->data().reduce_scatter_async(gradients.flat_range(bucket.offset, bucket.size),
                                                          gradients.flat_range(own.offset, own.size)));
  }
}

void GradientReduction::ready(std::int64_t flat_end) {
  if (mesh_->data().size() == 1) return;
  start_until(flat_end);
  for (const auto& pending : pending_) pending->progress();
}

void GradientReduction::finish() {
  mesh_->tensor().all_reduce(store_->replicated_gradients(), Reduction::sum);
  if (mesh_->data().size() == 1) return;
  start_until(store_->gradients().elements());
  for (const auto& pending : pending_) pending->wait();
  pending_.clear();
  started_ = 0;
}

}  // namespace headroom
