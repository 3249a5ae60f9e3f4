#include "model/embedding.h"

#include <cmath>

namespace headroom {

Embedding::Embedding(ParameterStore& store, const ModelConfig& config, int tensor_rank, int tensor_size)
    : store_(&store), scaled_(config.embedding_scale), learned_positions_(config.positions == PositionKind::learned) {
  table_ = store.declare({.name = "embedding.weight",
                          .logical = {config.vocab_size, config.hidden_size},
                          .partition = Partition::rows,
                          .stage = kStage,
                          .decay = true,
                          .init_std = config.init.std,
                          .shard_multiple = config.vocab_multiple},
                         tensor_rank, tensor_size);
  if (scaled_) {
    scale_ = store.declare({.name = "embedding.scale",
                            .logical = {1},
                            .stage = kStage,
                            .init_mean = std::sqrt(static_cast<double>(config.hidden_size))},
                           tensor_rank, tensor_size);
  }
  if (learned_positions_) {
    positions_ = store.declare({.name = "positions.weight",
                                .logical = {config.seq_len, config.hidden_size},
                                .stage = kStage,
                                .decay = true,
                                .init_std = config.init.std},
                               tensor_rank, tensor_size);
  }
}

EmbeddingActivations Embedding::plan(Arena& arena, std::int64_t rows, const RowShards& shards, DType dtype) const {
  EmbeddingActivations saved;
  const std::int64_t hidden = (*store_)[table_].logical[1];
  if (scaled_) saved.looked_up = arena.take({shards.local_rows(), hidden}, dtype, "embedding");
  if (!shards.alone()) saved.partial = arena.take({rows, hidden}, dtype, "embedding");
  return saved;
}

void Embedding::forward(const TokenTensors& tokens, std::int64_t seq, const RowShards& shards,
                        const EmbeddingActivations& saved, Tensor y) const {
  const Parameter& table = (*store_)[table_];
  const Tensor local = scaled_ ? saved.looked_up : y;
  const Tensor looked_up = shards.alone() ? local : saved.partial;
  ops::embedding(tokens.ids, table.value, table.first, looked_up);
  shards.sum(looked_up, local);
  if (scaled_) ops::scale_by(local, (*store_)[scale_].value, y);
  if (learned_positions_) ops::add_positions((*store_)[positions_].value, shards.first_row(), seq, y);
}

void Embedding::backward(const TokenTensors& tokens, std::int64_t seq, const RowShards& shards,
                         const EmbeddingActivations& saved, Tensor dx) const {
  const Parameter& table = (*store_)[table_];
  if (learned_positions_) {
    ops::add_positions_backward(dx, shards.first_row(), seq, (*store_)[positions_].gradient);
  }
  if (scaled_) {
    const Parameter& scale = (*store_)[scale_];
    ops::scale_by_backward(dx, saved.looked_up, scale.value, dx, scale.gradient);
  }
  Tensor all = dx;
  if (!shards.alone()) {
    ops::copy(dx, shards.own(saved.partial));
    shards.gather(saved.partial);
    all = saved.partial;
  }
  ops::embedding_backward(tokens.ids, tokens.groups, all, table.first, table.gradient);
}

}  // namespace headroom
