// Passages scored by a model that is being trained, on any layout (analysis/evaluation/scorer.h).
#pragma once

#include "analysis/evaluation/scorer.h"
#include "model/transformer.h"
#include "parallel/mesh.h"

namespace headroom {

class TransformerScorer : public evaluation::Scorer {
 public:
  // For passes of at most as many tokens as `micro_batch` sequences of the model's seq_len have.
  TransformerScorer(Transformer& model, std::int64_t micro_batch, const Mesh& mesh);

  // Collective, with the same passages on every rank, of at most seq_len + 1 tokens; takes all of them on every rank.
  // Batches are shared out over the data ranks. A rank that was asked to stop (trainer/stop_request.h) ends it for all:
  // then nothing is taken. A log-probability that is not finite is taken as it is.
  void score(std::span<const evaluation::Passage> passages, const Take& take, const Advance& advance) override;

  bool stopped() const { return stopped_; }

 private:
  struct Shape {
    std::int64_t batch;
    std::int64_t seq;
  };
  Shape shape_for(std::int64_t longest) const;

  Transformer& model_;
  std::int64_t micro_batch_;
  const Mesh& mesh_;
  bool stopped_ = false;
};

}  // namespace headroom
