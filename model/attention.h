// Causal self-attention with its switches: grouped queries, rotary positions, QK-norm, KV bias, biases.
#pragma once

#include <string>

#include "model/linear.h"
#include "model/tap.h"

namespace headroom {

// cos and sin of every rotary angle, [seq_len, head_dim/2]; made once a model. The angle of position t and pair i is
// t * theta^(-2i/head_dim) (RoFormer, arXiv 2104.09864).
struct RotaryTable {
  Tensor cos;
  Tensor sin;
};
RotaryTable make_rotary_table(const ModelConfig& config, DType dtype, Arena& arena);

// What a backward needs of its forward. R rows of the micro-batch, this rank's heads.
struct AttentionActivations {
  Tensor projected;  // [R, qkv] before QK-norm; only with QK-norm
  Tensor qk_rstd;    // [R, n_heads + n_kv_heads]; only with QK-norm
  Tensor qkv;        // [R, qkv] normed and rotated
  Tensor out;        // [R, query width]
  Tensor lse;        // [batch, n_heads, seq]
  Tensor bias_mass;  // [batch, n_heads, seq]; only with a KV bias
};

// Memory that no backward needs, shared by all layers.
struct AttentionScratch {
  Tensor partial;     // [R, hidden]; only with several tensor ranks
  Tensor dout;        // [R, query width]
  Tensor dqkv;        // [R, qkv]
  Tensor dprojected;  // [R, qkv]; only with QK-norm
};

class Attention {
 public:
  Attention(ParameterStore& store, const ModelConfig& config, const std::string& name, const LinearPlace& place,
            double output_std);

  AttentionShape local_shape(std::int64_t batch, std::int64_t seq) const;
  // What `recompute` makes again lies where `shared`'s does; shared may be null.
  AttentionActivations plan(Arena& arena, const AttentionShape& shape, DType dtype, Recompute recompute,
                            const AttentionActivations* shared) const;
  AttentionScratch plan_scratch(Arena& arena, const AttentionShape& shape, DType dtype) const;

  // The attention itself, without the output layer: what the backward needs, made (again) from x.
  void attend(const Tensor& x, const RotaryTable& rotary, const AttentionShape& shape,
              const AttentionActivations& saved) const;
  // The output layer alone: y of saved.out.
  void project(const RowShards& shards, const AttentionActivations& saved, const AttentionScratch& scratch,
               Tensor y) const;
  // dx [R, hidden] = this rank's part of the sum over tensor ranks. dy_all [R, hidden] holds every rank's dy.
  void backward(const Tensor& dy_all, const Tensor& x, const RotaryTable& rotary, const AttentionShape& shape,
                const RowShards& shards, const AttentionActivations& saved, const AttentionScratch& scratch,
                const Yield& yield, Tensor dx) const;

  AttentionView view(const AttentionActivations& saved, const AttentionShape& shape) const;

 private:
  bool has_kv_bias() const { return kv_bias_ != KvBiasKind::none; }
  Tensor bias_value() const;           // absent unless KvBiasKind::kv
  Tensor bias_value_gradient() const;  //

  ParameterStore* store_;
  ModelConfig config_;
  KvBiasKind kv_bias_;
  int tensor_rank_;
  int tensor_size_;
  ColumnParallelLinear qkv_;
  RowParallelLinear o_;
  std::size_t q_norm_ = 0;
  std::size_t k_norm_ = 0;
  std::size_t bias_key_ = 0;
  std::size_t bias_value_ = 0;
};

}  // namespace headroom
