// The block's feed-forward: SwiGLU, or one up-projection with GELU or ReLU.
#pragma once

#include <string>

#include "model/linear.h"

namespace headroom {

// What a backward needs of its forward; R rows, this rank's share F of the inner width.
struct FeedForwardActivations {
  Tensor inner;      // [R, 2F] gates then ups, or [R, F]; may be overwritten by the backward
  Tensor activated;  // [R, F]
};

struct FeedForwardScratch {
  Tensor partial;     // [R, hidden]; only with several tensor ranks
  Tensor dactivated;  // [R, F]
};

class FeedForward {
 public:
  FeedForward(ParameterStore& store, const ModelConfig& config, const std::string& name, const LinearPlace& place,
              double output_std);

  // What `recompute` makes again lies where `shared`'s does; shared may be null.
  FeedForwardActivations plan(Arena& arena, std::int64_t rows, DType dtype, Recompute recompute,
                              const FeedForwardActivations* shared) const;
  FeedForwardScratch plan_scratch(Arena& arena, std::int64_t rows, DType dtype) const;

  // x [R, hidden] the normed rows of all ranks; y [local rows, hidden] this rank's rows of the result.
  void forward(const Tensor& x, const RowShards& shards, const FeedForwardActivations& saved,
               const FeedForwardScratch& scratch, Tensor y) const;
  // Makes again what the backward needs and `recompute` did not keep.
  void recompute(const Tensor& x, Recompute level, const FeedForwardActivations& saved) const;
  // dx [R, hidden] = this rank's part of the sum over tensor ranks. dy_all [R, hidden] holds every rank's dy.
  void backward(const Tensor& dy_all, const Tensor& x, const RowShards& shards, const FeedForwardActivations& saved,
                const FeedForwardScratch& scratch, const Yield& yield, Tensor dx) const;

 private:
  // What a product's epilogue can do on a GPU.
  bool fused() const { return activation_ == Activation::gelu_tanh; }
  void activate(const FeedForwardActivations& saved) const;

  Activation activation_;
  bool gated_;
  std::int64_t hidden_;
  std::int64_t local_width_;
  bool several_ranks_;
  ColumnParallelLinear up_;
  RowParallelLinear down_;
};

}  // namespace headroom
