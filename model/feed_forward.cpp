#include "model/feed_forward.h"

namespace headroom {
namespace {

std::vector<ColumnParallelLinear::Output> inner_layers(const ModelConfig& config, const std::string& name) {
  if (!config.gated()) return {{name + ".up", config.ffn_size}};
  return {{name + ".gate", config.ffn_size}, {name + ".up", config.ffn_size}};
}

}  // namespace

FeedForward::FeedForward(ParameterStore& store, const ModelConfig& config, const std::string& name,
                         const LinearPlace& place, double output_std)
    : activation_(config.activation),
      gated_(config.gated()),
      hidden_(config.hidden_size),
      local_width_(config.ffn_size / place.tensor_size),
      several_ranks_(place.tensor_size > 1),
      up_(store, inner_layers(config, name), config.hidden_size, config.bias, place),
      down_(store, name + ".down", config.ffn_size, config.hidden_size, config.bias,
            {place.layer, place.stage, output_std, place.tensor_rank, place.tensor_size}) {}

FeedForwardActivations FeedForward::plan(Arena& arena, std::int64_t rows, DType dtype, Recompute recompute,
                                         const FeedForwardActivations* shared) const {
  FeedForwardActivations saved;
  const auto take = [&](std::int64_t columns) { return arena.take({rows, columns}, dtype, "feed-forward"); };
  saved.inner = shared != nullptr && recompute >= Recompute::block ? shared->inner
                                                                   : take(gated_ ? 2 * local_width_ : local_width_);
  // What a product's epilogue activates it activates before it rounds: only the same product makes the same bits again.
  const Recompute activations_again = fused() ? Recompute::block : Recompute::norms;
  saved.activated = shared != nullptr && recompute >= activations_again ? shared->activated : take(local_width_);
  return saved;
}

FeedForwardScratch FeedForward::plan_scratch(Arena& arena, std::int64_t rows, DType dtype) const {
  FeedForwardScratch scratch;
  if (several_ranks_) scratch.partial = arena.take({rows, hidden_}, dtype, "scratch");
  scratch.dactivated = arena.take({rows, local_width_}, dtype, "scratch");
  return scratch;
}

void FeedForward::activate(const FeedForwardActivations& saved) const {
  if (gated_) {
    ops::swiglu(saved.inner, saved.activated);
  } else {
    ops::activation(activation_, saved.inner, saved.activated);
  }
}

void FeedForward::forward(const Tensor& x, const RowShards& shards, const FeedForwardActivations& saved,
                          const FeedForwardScratch& scratch, Tensor y) const {
  if (fused()) {
    up_.forward_gelu(x, saved.inner, saved.activated);
  } else {
    up_.forward(x, saved.inner);
    activate(saved);
  }
  down_.forward(saved.activated, shards, scratch.partial, y);
}

void FeedForward::recompute(const Tensor& x, Recompute level, const FeedForwardActivations& saved) const {
  if (fused()) {
    if (level == Recompute::block) up_.forward_gelu(x, saved.inner, saved.activated);
    return;
  }
  if (level == Recompute::block) up_.forward(x, saved.inner);
  activate(saved);
}

void FeedForward::backward(const Tensor& dy_all, const Tensor& x, const RowShards& shards,
                           const FeedForwardActivations& saved, const FeedForwardScratch& scratch, const Yield& yield,
                           Tensor dx) const {
  if (fused()) {
    down_.backward_gelu(dy_all, saved.activated, saved.inner, shards, yield, scratch.dactivated);
    up_.backward(scratch.dactivated, x, yield, dx);
    return;
  }
  down_.backward(dy_all, saved.activated, shards, yield, scratch.dactivated);
  const Tensor dinner = saved.inner;  // in place: the forward's values are not needed again
  if (gated_) {
    ops::swiglu_backward(scratch.dactivated, saved.inner, dinner);
  } else {
    ops::activation_backward(activation_, scratch.dactivated, saved.inner, dinner);
  }
  up_.backward(dinner, x, yield, dx);
}

}  // namespace headroom
