#include "model/linear.h"

namespace headroom {
namespace {

Parameter weight(const std::string& name, Shape logical, Partition partition, const LinearPlace& place) {
  return {.name = name + ".weight",
          .logical = logical,
          .partition = partition,
          .layer = place.layer,
          .stage = place.stage,
          .decay = true,
          .tvr = true,
          .init_std = place.init_std};
}

Parameter bias(const std::string& name, std::int64_t width, Partition partition, const LinearPlace& place) {
  return {.name = name + ".bias",
          .logical = {width},
          .partition = partition,
          .layer = place.layer,
          .stage = place.stage,
          .bias_of_tvr = name + ".weight"};
}

}  // namespace

ColumnParallelLinear::ColumnParallelLinear(ParameterStore& store, const std::vector<Output>& outputs, std::int64_t in,
                                           bool has_bias, const LinearPlace& place)
    : store_(&store), count_(outputs.size()), weights_(store.all().size()), has_bias_(has_bias) {
  for (const Output& output : outputs) {
    store.declare(weight(output.name, {output.width, in}, Partition::rows, place), place.tensor_rank,
                  place.tensor_size);
  }
  if (!has_bias) return;
  biases_ = store.all().size();
  for (const Output& output : outputs) {
    store.declare(bias(output.name, output.width, Partition::rows, place), place.tensor_rank, place.tensor_size);
  }
}

void ColumnParallelLinear::forward(const Tensor& x, Tensor y) const {
  ops::matmul(x, Transpose::no, store_->stacked_values(weights_, count_), Transpose::yes, y, 1.0, 0.0);
  if (has_bias_) ops::add_bias(store_->stacked_values(biases_, count_), y);
}

void ColumnParallelLinear::backward(const Tensor& dy, const Tensor& x, const Yield& yield, Tensor dx) const {
  ops::matmul(dy, Transpose::yes, x, Transpose::no, store_->stacked_gradients(weights_, count_), 1.0, 1.0);
  yield();
  if (has_bias_) ops::bias_backward(dy, store_->stacked_gradients(biases_, count_));
  ops::matmul(dy, Transpose::no, store_->stacked_values(weights_, count_), Transpose::no, dx, 1.0, 0.0);
  yield();
}

RowParallelLinear::RowParallelLinear(ParameterStore& store, const std::string& name, std::int64_t in, std::int64_t out,
                                     bool has_bias, const LinearPlace& place)
    : store_(&store), has_bias_(has_bias) {
  weight_ = store.declare(weight(name, {out, in}, Partition::columns, place), place.tensor_rank, place.tensor_size);
  if (has_bias)
    bias_ = store.declare(bias(name, out, Partition::replicated, place), place.tensor_rank, place.tensor_size);
}

void RowParallelLinear::forward(const Tensor& x, const RowShards& shards, Tensor partial, Tensor y) const {
  const Tensor product = shards.alone() ? y : partial;
  ops::matmul(x, Transpose::no, (*store_)[weight_].value, Transpose::yes, product, 1.0, 0.0);
  shards.sum(product, y);
  if (has_bias_) ops::add_bias((*store_)[bias_].value, y);
}

void RowParallelLinear::backward(const Tensor& dy_all, const Tensor& x, const RowShards& shards, const Yield& yield,
                                 Tensor dx) const {
  const Parameter& weight = (*store_)[weight_];
  ops::matmul(dy_all, Transpose::yes, x, Transpose::no, weight.gradient, 1.0, 1.0);
  yield();
  // Replicated: every rank adds up its own rows; the sum over ranks follows with all replicated gradients.
  if (has_bias_) ops::bias_backward(shards.own(dy_all), (*store_)[bias_].gradient);
  ops::matmul(dy_all, Transpose::no, weight.value, Transpose::no, dx, 1.0, 0.0);
  yield();
}

}  // namespace headroom
