#include "model/attention.h"

#include <cmath>
#include <vector>

#include "tensor/transfer.h"

namespace headroom {
namespace {

std::vector<ColumnParallelLinear::Output> projections(const ModelConfig& config, const std::string& name) {
  return {{name + ".q", config.query_width()}, {name + ".k", config.kv_width()}, {name + ".v", config.kv_width()}};
}

}  // namespace

RotaryTable make_rotary_table(const ModelConfig& config, DType dtype, Arena& arena) {
  if (config.positions != PositionKind::rotary) return {};
  const std::int64_t half = config.head_dim / 2;
  const auto take = [&] { return arena.take({config.seq_len, half}, accumulator_of(dtype), "tables"); };
  RotaryTable table{take(), take()};
  if (!table.cos.present()) return table;  // measuring
  std::vector<double> cos;
  std::vector<double> sin;
  for (std::int64_t position = 0; position < config.seq_len; ++position) {
    for (std::int64_t pair = 0; pair < half; ++pair) {
      const double frequency =
          std::pow(config.rope_theta, -2.0 * static_cast<double>(pair) / static_cast<double>(config.head_dim));
      cos.push_back(std::cos(static_cast<double>(position) * frequency));
      sin.push_back(std::sin(static_cast<double>(position) * frequency));
    }
  }
  upload_as(std::span<const double>(cos), table.cos);
  upload_as(std::span<const double>(sin), table.sin);
  return table;
}

Attention::Attention(ParameterStore& store, const ModelConfig& config, const std::string& name,
                     const LinearPlace& place, double output_std)
    : store_(&store),
      config_(config),
      kv_bias_(config.attention.kv_bias),
      tensor_rank_(place.tensor_rank),
      tensor_size_(place.tensor_size),
      qkv_(store, projections(config, name), config.hidden_size, config.bias, place),
      o_(store, name + ".o", config.query_width(), config.hidden_size, config.bias,
         {place.layer, place.stage, output_std, place.tensor_rank, place.tensor_size}) {
  const auto declare = [&](const std::string& suffix, Shape shape, Partition partition, bool decay, double mean,
                           double std) {
    return store.declare({.name = name + suffix,
                          .logical = shape,
                          .partition = partition,
                          .layer = place.layer,
                          .stage = place.stage,
                          .decay = decay,
                          .init_mean = mean,
                          .init_std = std},
                         place.tensor_rank, place.tensor_size);
  };
  if (config.qk_norm) {
    q_norm_ = declare(".q_norm.weight", {config.head_dim}, Partition::replicated, false, 1.0, 0.0);
    k_norm_ = declare(".k_norm.weight", {config.head_dim}, Partition::replicated, false, 1.0, 0.0);
  }
  const Shape slot{config.n_kv_heads, config.head_dim};
  if (has_kv_bias()) bias_key_ = declare(".kv_bias.key", slot, Partition::rows, true, 0.0, config.init.kv_bias_std);
  if (kv_bias_ == KvBiasKind::kv) {
    bias_value_ = declare(".kv_bias.value", slot, Partition::rows, true, 0.0, config.init.kv_bias_std);
  }
}

Tensor Attention::bias_value() const {
  return kv_bias_ == KvBiasKind::kv ? (*store_)[bias_value_].value : Tensor();
}

Tensor Attention::bias_value_gradient() const {
  return kv_bias_ == KvBiasKind::kv ? (*store_)[bias_value_].gradient : Tensor();
}

AttentionShape Attention::local_shape(std::int64_t batch, std::int64_t seq) const {
  return {batch, seq, config_.n_heads / tensor_size_, config_.n_kv_heads / tensor_size_, config_.head_dim};
}

AttentionActivations Attention::plan(Arena& arena, const AttentionShape& shape, DType dtype, Recompute recompute,
                                     const AttentionActivations* shared) const {
  if (shared != nullptr && recompute >= Recompute::attention) return *shared;
  AttentionActivations saved;
  const DType wide = accumulator_of(dtype);
  const auto take = [&](Shape extents, DType format) { return arena.take(extents, format, "attention"); };
  if (config_.qk_norm) {
    saved.projected = take({shape.rows(), shape.qkv_width()}, dtype);
    saved.qk_rstd = take({shape.rows(), shape.n_heads + shape.n_kv_heads}, wide);
  }
  saved.qkv = take({shape.rows(), shape.qkv_width()}, dtype);
  saved.out = take({shape.rows(), shape.query_width()}, dtype);
  saved.lse = take({shape.batch, shape.n_heads, shape.seq}, wide);
  if (has_kv_bias()) saved.bias_mass = take({shape.batch, shape.n_heads, shape.seq}, wide);
  return saved;
}

AttentionScratch Attention::plan_scratch(Arena& arena, const AttentionShape& shape, DType dtype) const {
  AttentionScratch scratch;
  const auto take = [&](std::int64_t columns) { return arena.take({shape.rows(), columns}, dtype, "scratch"); };
  if (tensor_size_ > 1) scratch.partial = take(config_.hidden_size);
  scratch.dout = take(shape.query_width());
  scratch.dqkv = take(shape.qkv_width());
  if (config_.qk_norm) scratch.dprojected = take(shape.qkv_width());
  return scratch;
}

void Attention::attend(const Tensor& x, const RotaryTable& rotary, const AttentionShape& shape,
                       const AttentionActivations& saved) const {
  if (config_.qk_norm) {
    qkv_.forward(x, saved.projected);
    ops::qk_norm(saved.projected, shape, (*store_)[q_norm_].value, (*store_)[k_norm_].value, config_.norm_eps,
                 saved.qkv, saved.qk_rstd);
  } else {
    qkv_.forward(x, saved.qkv);
  }
  if (rotary.cos.present()) ops::rotary(rotary.cos, rotary.sin, shape, false, saved.qkv);
  ops::attention(saved.qkv, shape, saved.out, saved.lse);
  if (has_kv_bias()) {
    ops::kv_bias(saved.qkv, (*store_)[bias_key_].value, bias_value(), shape, saved.out, saved.lse, saved.bias_mass);
  }
}

void Attention::project(const RowShards& shards, const AttentionActivations& saved, const AttentionScratch& scratch,
                        Tensor y) const {
  o_.forward(saved.out, shards, scratch.partial, y);
}

void Attention::backward(const Tensor& dy_all, const Tensor& x, const RotaryTable& rotary, const AttentionShape& shape,
                         const RowShards& shards, const AttentionActivations& saved, const AttentionScratch& scratch,
                         const Yield& yield, Tensor dx) const {
  o_.backward(dy_all, saved.out, shards, yield, scratch.dout);
  ops::attention_backward(scratch.dout, saved.qkv, saved.out, saved.lse, shape, scratch.dqkv);
  yield();
  if (has_kv_bias()) {
    const Parameter& key = (*store_)[bias_key_];
    ops::kv_bias_backward(scratch.dout, saved.qkv, saved.out, saved.bias_mass, key.value, bias_value(), shape,
                          scratch.dqkv, key.gradient, bias_value_gradient());
  }
  if (rotary.cos.present()) ops::rotary(rotary.cos, rotary.sin, shape, true, scratch.dqkv);
  if (config_.qk_norm) {
    const Parameter& q_norm = (*store_)[q_norm_];
    const Parameter& k_norm = (*store_)[k_norm_];
    ops::qk_norm_backward(scratch.dqkv, saved.projected, shape, q_norm.value, k_norm.value, saved.qk_rstd,
                          scratch.dprojected, q_norm.gradient, k_norm.gradient);
    qkv_.backward(scratch.dprojected, x, yield, dx);
  } else {
    qkv_.backward(scratch.dqkv, x, yield, dx);
  }
}

AttentionView Attention::view(const AttentionActivations& saved, const AttentionShape& shape) const {
  return {saved.qkv, saved.lse, saved.bias_mass, shape, tensor_rank_ * shape.n_heads};
}

}  // namespace headroom
