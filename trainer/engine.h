// One optimizer step from batches to updated parameters: what the training loop, `bench` and `verify` share.
//
//   zero gradients -> per micro-batch: forward, loss, backward (buckets reduced while the last one runs)
//   -> gradient norm -> clip -> AdamW on the rank's shard -> TVR when due -> parameters gathered
//
// Everything that a step decides (the norm, the clipping, whether the numbers are finite) is decided where the model
// is. A GPU is given the whole step and asked for its few results when it is over.
#pragma once

#include <functional>
#include <memory>
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
  bool made = true;  // false: loss or norm were not finite or beyond the limits, and nothing has changed
  bool clipped = false;
  std::optional<TvrReport> tvr;
  std::vector<double> kv_bias_mass;  // mean attention on the bias slot, one a layer; empty without a KV bias
};

// What an engine would hold and do.
struct EnginePlan {
  std::vector<Arena::Category> memory;
  std::int64_t logical_parameters;  // of the model
  std::int64_t local_parameters;    // on this rank, padding included
  double flops_per_token;           // of the model, forward and backward
};

class Engine {
 public:
  // Builds the model for `config` (resolved) on this rank of the mesh and on `device`, initialised from config.seed,
  // with memory for micro-batches of config.train.micro_batch sequences: one arena, planned before it is taken. The
  // mesh must outlive the engine.
  Engine(const RunConfig& config, const Mesh& mesh, Device device);

  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // What such an engine would be, without its memory; the device need not be there. `workspace`: bytes for its
  // operations.
  static EnginePlan plan(const RunConfig& config, const Mesh& mesh, Device device, std::int64_t workspace);

  // Runs optimizer step `step` (from 1) at learning rate `lr`. `before` is called with a micro-batch's index just
  // before its forward. The tap may be null. Collective; every rank gets the same outcome. When loss or gradients are
  // not finite, or beyond `limits`, no parameter and no moment changes on any rank (StepOutcome::made).
  StepOutcome step(std::int64_t step, double lr, std::span<const Batch> micro_batches, ActivationTap* tap,
                   const std::function<void(std::size_t)>& before, const StepLimits& limits = {});

  Transformer& model() { return parts_.model; }
  AdamW& optimizer() { return parts_.optimizer; }
  const OptimizerShard& shard() const { return parts_.shard; }
  // Bytes of the arena by category.
  const std::vector<Arena::Category>& memory() const { return memory_->categories(); }

 private:
  // All that holds tensors, without their memory.
  struct Parts {
    Parts(const RunConfig& config, const Mesh& mesh, Device device);
    void allocate(Arena& arena, const RunConfig& config, std::int64_t workspace_bytes);

    Transformer model;
    OptimizerShard shard;
    GradientReduction reduction;
    AdamW optimizer;
    Tvr tvr;
    Tensor sums;  // f64 [5]: loss and counted tokens over all ranks, the gradient's sum of squares; its norm, scale
    Tensor workspace;  // of the device's operations; a CPU needs none
  };

  StepOutcome outcome_of(bool rescaled);

  RunConfig config_;
  const Mesh* mesh_;
  Device device_;
  Parts parts_;
  std::unique_ptr<Arena> memory_;
};

// The config's numbers that depend on the layout and the corpus filled in (micro_batch, vocab_size, derived model
// sizes) and checked against each other. Throws ExitCode::bad_config naming keys and numbers.
RunConfig resolved_for(RunConfig config, const Layout& layout, std::int64_t corpus_vocab_size);

}  // namespace headroom
