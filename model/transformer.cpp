#include "model/transformer.h"

#include <utility>

namespace headroom {
namespace {

std::vector<Block> make_blocks(ParameterStore& store, const ModelConfig& config, const Communicator& tensor) {
  std::vector<Block> blocks;
  for (std::int64_t layer = 0; layer < config.n_layers; ++layer) {
    blocks.emplace_back(store, config, layer, tensor.rank(), tensor.size());
  }
  return blocks;
}

}  // namespace

Transformer::Transformer(const ModelConfig& config, const Mesh& mesh, const TransformerOptions& options)
    : config_(config),
      options_(options),
      mesh_(&mesh),
      rotary_(make_rotary_table(config, options.dtype, options.device)),
      embedding_(store_, config, mesh.tensor().rank(), mesh.tensor().size()),
      blocks_(make_blocks(store_, config, mesh.tensor())),
      classifier_(store_, config, embedding_.table(), mesh.tensor()) {
  store_.finalize(options.dtype, options.device, mesh.data().size(), options.bucket_elements);
}

Transformer::Activations Transformer::carve(Arena& arena, std::int64_t batch, std::int64_t seq) const {
  const DType dtype = options_.dtype;
  const AttentionShape shape = blocks_.front().local_shape(batch, seq);
  const RowShards shards(mesh_->tensor(), shape.rows());
  const auto residual = [&] {
    return arena.take({shards.local_rows(), config_.hidden_size}, dtype, "residual stream");
  };

  Activations activations;
  activations.batch = batch;
  activations.seq = seq;
  activations.embedding = embedding_.plan(arena, shape.rows(), shards, dtype);
  for (std::int64_t layer = 0; layer <= config_.n_layers; ++layer) activations.residual.push_back(residual());
  const std::size_t kept = options_.recompute == Recompute::block ? 1 : blocks_.size();
  for (std::size_t index = 0; index < kept; ++index) {
    activations.blocks.push_back(blocks_[index].plan(arena, shape, shards, dtype));
  }
  activations.scratch = blocks_.front().plan_scratch(arena, shape, shards, dtype);
  activations.classifier = classifier_.plan(arena, shape.rows(), options_.loss_chunk, shards, dtype);
  activations.dresidual = residual();
  return activations;
}

void Transformer::plan(std::int64_t batch, std::int64_t seq) {
  Arena measure = Arena::measuring(options_.device);
  carve(measure, batch, seq);
  plan_ = measure.categories();
  planned_tokens_ = batch * seq;
  arena_ = std::make_unique<Arena>(measure, "activations");
  activations_ = {};
}

const Transformer::Activations& Transformer::activations_for(const Batch& batch) {
  HEADROOM_CHECK(arena_ != nullptr && batch.batch * batch.seq <= planned_tokens_,
                 "a pass of {} x {} tokens, planned for {}", batch.batch, batch.seq, planned_tokens_);
  HEADROOM_CHECK(batch.seq <= config_.seq_len, "a sequence of {} tokens in a model of {}", batch.seq, config_.seq_len);
  if (activations_.batch != batch.batch || activations_.seq != batch.seq) {
    arena_->rewind();
    activations_ = carve(*arena_, batch.batch, batch.seq);
  }
  return activations_;
}

PassContext Transformer::pass_context(const Activations& activations) const {
  const AttentionShape shape = blocks_.front().local_shape(activations.batch, activations.seq);
  return {shape, RowShards(mesh_->tensor(), shape.rows()), rotary_};
}

const BlockActivations& Transformer::saved_of(const Activations& activations, std::size_t layer) const {
  return activations.blocks[options_.recompute == Recompute::block ? 0 : layer];
}

PassContext Transformer::forward_blocks(const Batch& batch, const Activations& activations, ActivationTap* tap,
                                        Pass kind) {
  const PassContext pass = pass_context(activations);
  embedding_.forward(batch.ids, batch.seq, pass.shards, activations.embedding, activations.residual[0]);
  if (tap != nullptr) {
    tap->hidden(Site::embedding_output, 0, activations.residual[0], pass.shards.first_row());
  }
  for (std::size_t layer = 0; layer < blocks_.size(); ++layer) {
    blocks_[layer].forward(activations.residual[layer], pass, saved_of(activations, layer), activations.scratch, tap,
                           activations.residual[layer + 1]);
    if (kind == Pass::training) note_kv_bias_mass(activations, layer);
  }
  if (kind == Pass::training) ++kv_bias_passes_;
  return pass;
}

void Transformer::note_kv_bias_mass(const Activations& activations, std::size_t layer) {
  const Tensor mass = saved_of(activations, layer).attention.bias_mass;
  if (!mass.present()) return;
  kv_bias_mass_.resize(blocks_.size());
  kv_bias_mass_[layer] += ops::sum(mass) / static_cast<double>(mass.elements());
}

LossSum Transformer::forward_backward(const Batch& batch, double gradient_scale, ActivationTap* tap,
                                      const GradientsReady& gradients_ready) {
  const Activations& activations = activations_for(batch);
  const PassContext pass = forward_blocks(batch, activations, tap, Pass::training);
  const Tensor dx = activations.dresidual;
  const LossSum loss = classifier_.forward(activations.residual.back(), batch.targets, pass.shards,
                                           activations.classifier, tap, gradient_scale, dx);
  // A tied head's gradient belongs to the embedding's stage, so what is ready follows from the stages alone.
  std::int64_t ready_end = store_.ready_end(Block::stage_of(config_.n_layers));
  gradients_ready(ready_end);
  const Yield yield = [&] { gradients_ready(ready_end); };
  for (std::size_t layer = blocks_.size(); layer-- > 0;) {
    const Tensor input = activations.residual[layer];
    const BlockActivations& saved = saved_of(activations, layer);
    if (options_.recompute == Recompute::block && layer + 1 != blocks_.size()) {
      // The last block's activations are still there; the others' are made again, their output into its old place.
      blocks_[layer].forward(input, pass, saved, activations.scratch, nullptr, activations.residual[layer + 1]);
    }
    blocks_[layer].backward(input, pass, saved, activations.scratch, yield, dx);
    ready_end = store_.ready_end(Block::stage_of(static_cast<std::int64_t>(layer)));
    gradients_ready(ready_end);
  }
  embedding_.backward(batch.ids, batch.seq, pass.shards, activations.embedding, dx);
  gradients_ready(store_.ready_end(Embedding::kStage));
  return loss;
}

LossSum Transformer::evaluate(const Batch& batch, ActivationTap* tap) {
  const Activations& activations = activations_for(batch);
  const PassContext pass = forward_blocks(batch, activations, tap, Pass::evaluation);
  return classifier_.forward(activations.residual.back(), batch.targets, pass.shards, activations.classifier, tap,
                             std::nullopt, Tensor());
}

void Transformer::logits(const Batch& batch, Tensor out) {
  const Activations& activations = activations_for(batch);
  const PassContext pass = forward_blocks(batch, activations, nullptr, Pass::evaluation);
  classifier_.logits(activations.residual.back(), pass.shards, activations.classifier, out);
}

std::vector<double> Transformer::dyt_alphas() const {
  std::vector<double> alphas;
  if (config_.norm != NormKind::dyt) return alphas;
  const auto add = [&](const Norm& norm) { alphas.push_back(ops::sum(norm.alpha().value)); };
  for (const Block& block : blocks_) {
    add(block.attention_norm());
    add(block.mlp_norm());
  }
  add(classifier_.norm());
  return alphas;
}

std::vector<double> Transformer::take_kv_bias_mass() {
  std::vector<double> mean = std::exchange(kv_bias_mass_, {});
  const auto passes = static_cast<double>(std::exchange(kv_bias_passes_, 0));
  for (double& mass : mean) mass /= passes;
  return mean;
}

double Transformer::flops_per_token(std::int64_t seq) const {
  double weights = 0.0;
  for (const Parameter& parameter : store_.all()) {
    const bool table = parameter.name == "embedding.weight" && !config_.tied_head;
    if (parameter.logical.rank() == 2 && !table && parameter.name != "positions.weight") {
      weights += static_cast<double>(parameter.logical.elements());
    }
  }
  const double attention = static_cast<double>(config_.n_layers * config_.query_width() * seq);
  return 6.0 * weights + 6.0 * attention;
}

}  // namespace headroom
