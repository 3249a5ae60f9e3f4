// One optimizer step from batches to updated parameters: what the training loop, `bench` and `verify` share.
//
//   zero gradients -> per micro-batch: forward, loss, backward (buckets reduced while the last one runs)
//   -> gradient norm -> clip -> AdamW on the rank's shard -> TVR when due -> parameters gathered
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "model/transformer.h"
#include "optim/adamw.h"
#include "optim/gradient_reduction.h"
#include "optim/tvr.h"
#include "trainer/config.h"

namespace headroom {

struct StepOutcome {
  LossSum loss;  // over all ranks
  double grad_norm = 0.0;
  bool clipped = false;
  std::optional<TvrReport> tvr;
  std::vector<double> kv_bias_mass;  // mean attention on the bias slot, one a layer; empty without a KV bias
};

class Engine {
 public:
  // Builds the model for `config` (resolved) on this rank of the mesh, initialised from config.seed, with memory for
  // micro-batches of config.train.micro_batch sequences. The mesh must outlive the engine.
  Engine(const RunConfig& config, const Mesh& mesh);

  // Runs optimizer step `step` (from 1) at learning rate `lr`. `before` is called with a micro-batch's index just
  // before its forward. The tap may be null. Collective; every rank gets the same outcome.
  // Throws ExitCode::diverged, on every rank and before any parameter changes, when loss or gradients are not finite.
  StepOutcome step(std::int64_t step, double lr, std::span<const Batch> micro_batches, ActivationTap* tap,
                   const std::function<void(std::size_t)>& before);

  Transformer& model() { return model_; }
  AdamW& optimizer() { return optimizer_; }
  const OptimizerShard& shard() const { return shard_; }

 private:
  RunConfig config_;
  const Mesh* mesh_;
  Transformer model_;
  OptimizerShard shard_;
  GradientReduction reduction_;
  AdamW optimizer_;
};

// The config's numbers that depend on the layout and the corpus filled in (micro_batch, vocab_size, derived model
// sizes) and checked against each other. Throws ExitCode::bad_config naming keys and numbers.
RunConfig resolved_for(RunConfig config, const Layout& layout, std::int64_t corpus_vocab_size);

}  // namespace headroom
