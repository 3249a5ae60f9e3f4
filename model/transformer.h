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
  Recompute recompute = Recompute::none;
  std::int64_t loss_chunk = 256;  // rows whose logits exist at once
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

  // Takes all that the model holds out of an arena, which must outlive it, for passes of at most batch * seq tokens:
  // parameters, gradients, tables and, last, activations. Nothing may be taken from the arena afterwards, for a pass of
  // another shape cuts the activations' memory anew.
  void allocate(Arena& arena, std::int64_t batch, std::int64_t seq);
  // The same from an arena of the model's own.
  void plan(std::int64_t batch, std::int64_t seq);
  // What the arena was planned for, by category.
  const std::vector<Arena::Category>& memory() const { return arena_->categories(); }

  // Called in the backward after every large product: all tensor-parallel gradients before this flat offset are final.
  // The offset grows when a layer is done.
  using GradientsReady = std::function<void(std::int64_t flat_end)>;

  // Adds a micro-batch's loss to nll, f64 [1] on the model's device, and its gradients scaled by gradient_scale to the
  // parameters'. The tap may be null. Does not wait for a GPU.
  void forward_backward(const Batch& batch, double gradient_scale, Tensor nll, ActivationTap* tap,
                        const GradientsReady& gradients_ready);
  // The same, waiting for the loss.
  LossSum forward_backward(const Batch& batch, double gradient_scale, ActivationTap* tap,
                           const GradientsReady& gradients_ready);

  // Loss alone (evaluation mode). Waits for it.
  LossSum evaluate(const Batch& batch, ActivationTap* tap);

  // The loss of every token by itself, [batch * seq] (evaluation mode). Waits for it.
  std::vector<TokenLoss> token_losses(const Batch& batch);

  // Logits of this rank's vocabulary rows, [batch*seq, local vocabulary]; the tensor is the caller's.
  void logits(const Batch& batch, Tensor out);

  // DyT's alphas, two a layer (before attention, before the feed-forward), then the final norm's; empty for other
  // norms.
  std::vector<double> dyt_alphas();
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
    TokenTensors tokens;
    EmbeddingActivations embedding;
    std::vector<Tensor> residual;          // n_layers + 1: the input of each block, and the last output
    std::vector<BlockActivations> blocks;  // one a layer; what is recomputed lies in the same memory for all
    BlockScratch scratch;
    ClassifierActivations classifier;
    Tensor dresidual;
  };

  Activations carve(Arena& arena, std::int64_t batch, std::int64_t seq) const;
  const Activations& activations_for(const Batch& batch);
  PassContext pass_context(const Activations& activations) const;
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
  std::unique_ptr<Arena> own_;  // of plan()
  Arena* arena_ = nullptr;
  std::size_t activations_begin_ = 0;  // in the arena
  std::int64_t planned_tokens_ = 0;
  Activations activations_;
  TokenTensors tokens_;  // of the pass under way
  Tensor nll_;           // f64 [1]: of passes whose loss is waited for
  Tensor alphas_;        // f64 [2 n_layers + 1] scratch of dyt_alphas
  Tensor kv_bias_mass_;  // f64 [n_layers]: a sum over kv_bias_passes_
  std::int64_t kv_bias_passes_ = 0;
};

}  // namespace headroom
