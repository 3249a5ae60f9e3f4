#include "model/linear.h"

#include <utility>

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
  const auto declare_stacked = [&](const auto& parameter_of) {
    const std::size_t first = store.all().size();
    for (const Output& output : outputs) {
      Parameter parameter = parameter_of(output);
      parameter.follows = store.all().size() > first;
      store.declare(std::move(parameter), place.tensor_rank, place.tensor_size);
    }
    return first;
  };
  declare_stacked([&](const Output& output) {
    return weight(output.name, {output.width, in}, Partition::rows, place);
  });
  if (!has_bias) return;
  biases_ =
      declare_stacked([&](const Output& output) { return bias(output.name, output.width, Partition::rows, place); });
}

Tensor ColumnParallelLinear::stacked_bias() const {
  return has_bias_ ? store_->stacked_values(biases_, count_) : Tensor();
}

void ColumnParallelLinear::forward(const Tensor& x, Tensor y) const {
  ops::linear(x, store_->stacked_values(weights_, count_), stacked_bias(), y);
}

void ColumnParallelLinear::forward_gelu(const Tensor& x, Tensor inner, Tensor y) const {
  ops::linear_gelu(x, store_->stacked_values(weights_, count_), stacked_bias(), inner, y);
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
  const Tensor bias = has_bias_ ? (*store_)[bias_].value : Tensor();
  if (shards.alone()) {
    ops::linear(x, (*store_)[weight_].value, bias, y);
    return;
  }
  ops::linear(x, (*store_)[weight_].value, Tensor(), partial);
  shards.sum(partial, y);
  if (has_bias_) ops::add_bias(bias, y);  // once, not once a rank
}

// The parameters' gradients: everything but the layer's own input.
void RowParallelLinear::accumulate(const Tensor& dy_all, const Tensor& x, const RowShards& shards,
                                   const Yield& yield) const {
  ops::matmul(dy_all, Transpose::yes, x, Transpose::no, (*store_)[weight_].gradient, 1.0, 1.0);
  yield();
  // Replicated: every rank adds up its own rows; the sum over ranks follows with all replicated gradients.
  if (has_bias_) ops::bias_backward(shards.own(dy_all), (*store_)[bias_].gradient);
}

void RowParallelLinear::backward(const Tensor& dy_all, const Tensor& x, const RowShards& shards, const Yield& yield,
                                 Tensor dx) const {
  accumulate(dy_all, x, shards, yield);
  ops::matmul(dy_all, Transpose::no, (*store_)[weight_].value, Transpose::no, dx, 1.0, 0.0);
  yield();
}

void RowParallelLinear::backward_gelu(const Tensor& dy_all, const Tensor& x, const Tensor& inner,
                                      const RowShards& shards, const Yield& yield, Tensor dinner) const {
  accumulate(dy_all, x, shards, yield);
  ops::linear_gelu_backward(dy_all, (*store_)[weight_].value, inner, dinner);
  yield();
}

}  // namespace headroom
