// The decoder-only transformer: embedding, blocks, classifier; forward and backward written out, over one arena.
//
//   ids -> Embedding -> [Block] * n_layers -> Classifier -> loss
//
// A micro-batch is [batch, seq] tokens. Every tensor rank gets the same ids and holds its rows of the residual stream
// and its share of heads, inner width and vocabulary; see model/row_shards.h and model/linear.h.
#pragma once

#include <functional>
#include <vector>

#include "data/batches.h"
#include "model/block.h"
#include "model/classifier.h"
#include "model/embedding.h"
#include "parallel/mesh.h"

namespace headroom {

// How a model is laid out in memory; what the config says beyond the architecture.
struct TransformerOptions {
  DType dtype = DType::f32;
  Device device = Device::cpu;
  Recompute recompute = Recompute::none;  // block: keep only each block's input, run it again in the backward
  std::int64_t loss_chunk = 256;          // rows whose logits exist at once
  std::int64_t bucket_elements = std::int64_t{1} << 21;
};

class Transformer {
 public:
  // `config` resolved and validated. The mesh must outlive the model.
  Transformer(const ModelConfig& config, const Mesh& mesh, const TransformerOptions& options);
  Transformer(const Transformer&) = delete;  // its modules point into its parameters
  Transformer& operator=(const Transformer&) = delete;

  const ModelConfig& config() const { return config_; }
  ParameterStore& parameters() { return store_; }
  const ParameterStore& parameters() const { return store_; }

  // Allocates the activations for passes of at most batch * seq tokens. Call before the first pass.
  void plan(std::int64_t batch, std::int64_t seq);
  // Bytes of the planned activations by category.
  const std::vector<Arena::Category>& activation_plan() const { return plan_; }

  // Called in the backward after every large product: all tensor-parallel gradients before this flat offset are final.
  // The offset grows when a layer is done.
  using GradientsReady = std::function<void(std::int64_t flat_end)>;

  // Loss of a micro-batch, its gradients scaled by gradient_scale added to the parameters'. The tap may be null.
  LossSum forward_backward(const Batch& batch, double gradient_scale, ActivationTap* tap,
                           const GradientsReady& gradients_ready);

  // Loss alone (evaluation mode).
  LossSum evaluate(const Batch& batch, ActivationTap* tap);

  // Logits of this rank's vocabulary rows, [batch*seq, local vocabulary]; the tensor is the caller's.
  void logits(const Batch& batch, Tensor out);

  // DyT's alphas, two a layer (before attention, before the feed-forward), then the final norm's; empty for other
  // norms.
  std::vector<double> dyt_alphas() const;
  // The mean attention mass on the KV bias' slot over the training passes since the last call, one a layer over this
  // rank's heads and tokens; empty without a bias or a pass.
  std::vector<double> take_kv_bias_mass();

  // Forward FLOPs and backward FLOPs of one token's matrix products: 6 N + 6 L d T (reference: docs/metrics.md).
  double flops_per_token(std::int64_t seq) const;

 private:
  // Every tensor of one pass shape, cut from the arena.
  struct Activations {
    std::int64_t batch = 0;
    std::int64_t seq = 0;
    EmbeddingActivations embedding;
    std::vector<Tensor> residual;          // n_layers + 1: the input of each block, and the last output
    std::vector<BlockActivations> blocks;  // one a layer, or one for all when recomputing
    BlockScratch scratch;
    ClassifierActivations classifier;
    Tensor dresidual;
  };

  Activations carve(Arena& arena, std::int64_t batch, std::int64_t seq) const;
  const Activations& activations_for(const Batch& batch);
  PassContext pass_context(const Activations& activations) const;
  const BlockActivations& saved_of(const Activations& activations, std::size_t layer) const;
  enum class Pass : std::uint8_t { training, evaluation };
  PassContext forward_blocks(const Batch& batch, const Activations& activations, ActivationTap* tap, Pass kind);
  void note_kv_bias_mass(const Activations& activations, std::size_t layer);

  ModelConfig config_;
  TransformerOptions options_;
  const Mesh* mesh_;
  ParameterStore store_;
  RotaryTable rotary_;
  Embedding embedding_;
  std::vector<Block> blocks_;
  Classifier classifier_;
  std::unique_ptr<Arena> arena_;
  std::vector<Arena::Category> plan_;
  std::int64_t planned_tokens_ = 0;
  Activations activations_;
  std::vector<double> kv_bias_mass_;  // a sum over kv_bias_passes_
  std::int64_t kv_bias_passes_ = 0;
};

}  // namespace headroom
