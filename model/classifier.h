// The end of the model: final norm, language-model head and cross-entropy over a vocabulary cut over the tensor
// ranks. Logits exist for a few rows at a time only; their gradient is made while they are there.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "model/residual_sum.h"
#include "model/row_shards.h"

namespace headroom {

// A sum of negative log-likelihoods (nats) and how many tokens it is over.
struct LossSum {
  double nll = 0.0;
  std::int64_t tokens = 0;

  LossSum& operator+=(const LossSum& other) {
    nll += other.nll;
    tokens += other.tokens;
    return *this;
  }
  double mean() const { return tokens == 0 ? 0.0 : nll / static_cast<double>(tokens); }
};

// A target's negative log-likelihood (nats), and whether no id has a larger logit.
struct TokenLoss {
  double nll = 0.0;
  bool is_argmax = false;
};

struct ClassifierActivations {
  NormStatistics norm;
  Tensor input;    // [R, hidden] normed rows of all tensor ranks; becomes its own gradient
  Tensor logits;   // [chunk, local vocabulary]
  Tensor row_max;  // [chunk]
  Tensor sums;     // [2, chunk]: sum of exponentials, target logit
};

class Classifier {
 public:
  // `tied_table`: the embedding's table when the head shares it.
  Classifier(ParameterStore& store, const ModelConfig& config, std::size_t tied_table, Communicator& tensor);

  ClassifierActivations plan(Arena& arena, std::int64_t rows, std::int64_t chunk, const RowShards& shards,
                             DType dtype) const;

  // x [local rows, hidden]: the last block's feed-forward output, to which `carried` is added (model/block.h). targets
  // of all rows (-1: not counted). nll f64 [1] grows by the loss. With `gradient_scale`, also the backward of
  // gradient_scale * nll: dx [local rows, hidden] is written and the parameters' gradients grow.
  void forward(Tensor x, const Tensor& carried, const Tensor& targets, const RowShards& shards,
               const ClassifierActivations& saved, ActivationTap* tap, std::optional<double> gradient_scale, Tensor nll,
               Tensor dx) const;

  // The loss of every row's target alone, the same on every tensor rank; 0 where there is no target. Waits for it.
  std::vector<TokenLoss> token_losses(Tensor x, const Tensor& carried, const Tensor& targets, const RowShards& shards,
                                      const ClassifierActivations& saved, std::span<const std::int32_t> host_targets,
                                      Tensor nll) const;

  // The logits themselves, [rows, local vocabulary], for tests and tools.
  void logits(Tensor x, const Tensor& carried, const RowShards& shards, const ClassifierActivations& saved,
              Tensor out) const;

  const Norm& norm() const { return norm_; }

 private:
  void norm_rows(Tensor x, const Tensor& carried, const RowShards& shards, const ClassifierActivations& saved,
                 ActivationTap* tap) const;
  void chunk_loss(const ClassifierActivations& saved, const Tensor& logits, const Tensor& targets, double scale,
                  Tensor nll) const;

  std::int64_t layers_;

  ParameterStore* store_;
  Communicator* tensor_;
  std::int64_t hidden_;
  Norm norm_;
  std::size_t head_;
};

}  // namespace headroom
