// Linear layers cut over the tensor ranks, as Megatron-LM does (arXiv 1909.08053): column-parallel ones hold some of
// the outputs and need nothing from other ranks; row-parallel ones hold some of the inputs and leave partial sums.
// Weights are [out, in]; y = x W^T + b.
#pragma once

#include <string>
#include <vector>

#include "model/config.h"
#include "model/parameters.h"
#include "model/row_shards.h"
#include "model/yield.h"

namespace headroom {

// Where a layer's weights stand in the model, and their initialisation.
struct LinearPlace {
  std::int64_t layer;  // of the block
  int stage;
  double init_std;
  int tensor_rank;
  int tensor_size;
};

// Several logical layers that read the same input (q, k, v; gate, up), kept as one matrix with their rows stacked.
class ColumnParallelLinear {
 public:
  struct Output {
    std::string name;  // "layers.0.attention.q"
    std::int64_t width;
  };
  ColumnParallelLinear(ParameterStore& store, const std::vector<Output>& outputs, std::int64_t in, bool bias,
                       const LinearPlace& place);

  // x [rows, in], y [rows, all local outputs]
  void forward(const Tensor& x, Tensor y) const;
  // inner = x W^T + b, y = gelu_tanh(inner).
  void forward_gelu(const Tensor& x, Tensor inner, Tensor y) const;
  // dx = dy W: this rank's part of the sum over tensor ranks. Yields after each product.
  void backward(const Tensor& dy, const Tensor& x, const Yield& yield, Tensor dx) const;

 private:
  Tensor stacked_bias() const;  // absent without one

  ParameterStore* store_;
  std::size_t count_;
  std::size_t weights_;
  std::size_t biases_ = 0;
  bool has_bias_;
};

class RowParallelLinear {
 public:
  RowParallelLinear(ParameterStore& store, const std::string& name, std::int64_t in, std::int64_t out, bool bias,
                    const LinearPlace& place);

  // y [local rows, out] = this rank's rows of the sum over tensor ranks of x W^T, plus bias. x [all rows, local in];
  // `partial` [all rows, out] is scratch when there are several ranks.
  void forward(const Tensor& x, const RowShards& shards, Tensor partial, Tensor y) const;
  // dx [all rows, local in] = dy W. `dy_all` [all rows, out] holds every rank's dy. Yields after each product.
  void backward(const Tensor& dy_all, const Tensor& x, const RowShards& shards, const Yield& yield, Tensor dx) const;
  // The same through the gelu_tanh that made x of `inner`: dinner = (dy W) gelu_tanh'(inner).
  void backward_gelu(const Tensor& dy_all, const Tensor& x, const Tensor& inner, const RowShards& shards,
                     const Yield& yield, Tensor dinner) const;

 private:
  void accumulate(const Tensor& dy_all, const Tensor& x, const RowShards& shards, const Yield& yield) const;

  ParameterStore* store_;
  std::size_t weight_;
  std::size_t bias_ = 0;
  bool has_bias_;
};

}  // namespace headroom
