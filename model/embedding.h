// Token ids to the first hidden state: a vocabulary-parallel table, an optional learned scale, optional learned
// positions.
#pragma once

#include "model/config.h"
#include "model/parameters.h"
#include "model/row_shards.h"
#include "model/token_tensors.h"

namespace headroom {

struct EmbeddingActivations {
  Tensor looked_up;  // [local rows, hidden] before the scale; only with one
  Tensor partial;    // [R, hidden] scratch: this rank's rows of the vocabulary; only with several tensor ranks
};

class Embedding {
 public:
  Embedding(ParameterStore& store, const ModelConfig& config, int tensor_rank, int tensor_size);

  EmbeddingActivations plan(Arena& arena, std::int64_t rows, const RowShards& shards, DType dtype) const;

  // tokens: of all rows; y [local rows, hidden].
  void forward(const TokenTensors& tokens, std::int64_t seq, const RowShards& shards, const EmbeddingActivations& saved,
               Tensor y) const;
  // dx [local rows, hidden] is used up.
  void backward(const TokenTensors& tokens, std::int64_t seq, const RowShards& shards,
                const EmbeddingActivations& saved, Tensor dx) const;

  // The table, for a head that shares it.
  std::size_t table() const { return table_; }

  static constexpr int kStage = 0;

 private:
  ParameterStore* store_;
  bool scaled_;
  bool learned_positions_;
  std::size_t table_;
  std::size_t scale_ = 0;
  std::size_t positions_ = 0;
};

}  // namespace headroom
