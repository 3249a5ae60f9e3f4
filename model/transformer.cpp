#include "model/transformer.h"

#include <algorithm>
#include <utility>

#include "tensor/transfer.h"

namespace headroom {
namespace {

std::vector<Block> make_blocks(ParameterStore& store, const ModelConfig& config, const Communicator& tensor) {
  std::vector<Block> blocks;
  for (std::int64_t layer = 0; layer < config.n_layers; ++layer) {
    blocks.emplace_back(store, config, layer, tensor.rank(), tensor.size());
  }
  return blocks;
}

std::int64_t counted(const Batch& batch) {
  return std::count_if(batch.targets.begin(), batch.targets.end(), [](std::int32_t target) { return target >= 0; });
}

// Tensor cores want rows of logits that are aligned; GPT-2's vocabulary of 50257 has none that are. What is padded
// takes no part in softmax or statistics. bf16 alone is computed on them.
ModelConfig with_padded_vocabulary(ModelConfig config, DType dtype) {
  constexpr std::int64_t kAligned = 64;
  if (dtype == DType::bf16) config.vocab_multiple = kAligned;
  return config;
}

}  // namespace

Transformer::Transformer(const ModelConfig& config, const Mesh& mesh, const TransformerOptions& options)
    : config_(with_padded_vocabulary(config, options.dtype)),
      options_(options),
      mesh_(&mesh),
      embedding_(store_, config_, mesh.tensor().rank(), mesh.tensor().size()),
      blocks_(make_blocks(store_, config_, mesh.tensor())),
      classifier_(store_, config_, embedding_.table(), mesh.tensor()) {
  store_.finalize(options.dtype, mesh.data().size(), options.bucket_elements);
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
  activations.tokens = TokenTensors::plan(arena, shape.rows());
  activations.embedding = embedding_.plan(arena, shape.rows(), shards, dtype);
  for (std::int64_t layer = 0; layer <= config_.n_layers; ++layer) activations.residual.push_back(residual());
  for (const Block& block : blocks_) {
    const BlockActivations* shared = activations.blocks.empty() ? nullptr : &activations.blocks.front();
    activations.blocks.push_back(block.plan(arena, shape, shards, dtype, options_.recompute, shared));
  }
  activations.scratch = blocks_.front().plan_scratch(arena, shape, shards, dtype);
  activations.classifier = classifier_.plan(arena, shape.rows(), options_.loss_chunk, shards, dtype);
  activations.dresidual = residual();
  return activations;
}

void Transformer::allocate(Arena& arena, std::int64_t batch, std::int64_t seq) {
  store_.allocate(arena);
  rotary_ = make_rotary_table(config_, options_.dtype, arena);
  nll_ = arena.take({1}, DType::f64, "sums");
  alphas_ = arena.take({2 * config_.n_layers + 1}, DType::f64, "sums");
  kv_bias_mass_ = arena.take({config_.n_layers}, DType::f64, "sums");
  arena_ = &arena;
  activations_begin_ = arena.bytes();
  planned_tokens_ = batch * seq;
  activations_ = carve(arena, batch, seq);
}

void Transformer::plan(std::int64_t batch, std::int64_t seq) {
  own_ = planned_arena(options_.device, "the model", [&](Arena& arena) { allocate(arena, batch, seq); });
}

const Transformer::Activations& Transformer::activations_for(const Batch& batch) {
  HEADROOM_CHECK(arena_ != nullptr && batch.batch * batch.seq <= planned_tokens_,
                 "a pass of {} x {} tokens, planned for {}", batch.batch, batch.seq, planned_tokens_);
  HEADROOM_CHECK(batch.seq <= config_.seq_len, "a sequence of {} tokens in a model of {}", batch.seq, config_.seq_len);
  if (activations_.batch != batch.batch || activations_.seq != batch.seq) {
    arena_->rewind(activations_begin_);
    activations_ = carve(*arena_, batch.batch, batch.seq);
  }
  return activations_;
}

PassContext Transformer::pass_context(const Activations& activations) const {
  const AttentionShape shape = blocks_.front().local_shape(activations.batch, activations.seq);
  return {shape, RowShards(mesh_->tensor(), shape.rows()), rotary_};
}

PassContext Transformer::forward_blocks(const Batch& batch, const Activations& activations, ActivationTap* tap,
                                        Pass kind) {
  const PassContext pass = pass_context(activations);
  tokens_ = activations.tokens;
  tokens_.upload_tokens(batch.ids, batch.targets);
  embedding_.forward(tokens_, batch.seq, pass.shards, activations.embedding, activations.residual[0]);
  if (tap != nullptr) {
    tap->hidden(Site::embedding_output, 0, activations.residual[0], pass.shards.first_row());
  }
  Tensor carried;
  for (std::size_t layer = 0; layer < blocks_.size(); ++layer) {
    const BlockActivations& saved = activations.blocks[layer];
    blocks_[layer].forward(activations.residual[layer], carried, pass, saved, activations.scratch, tap,
                           activations.residual[layer + 1]);
    carried = saved.middle;
    if (kind == Pass::training) note_kv_bias_mass(activations, layer);
  }
  if (kind == Pass::training) ++kv_bias_passes_;
  return pass;
}

void Transformer::note_kv_bias_mass(const Activations& activations, std::size_t layer) {
  const Tensor mass = activations.blocks[layer].attention.bias_mass;
  if (!mass.present()) return;
  ops::add_sum(mass, 1.0 / static_cast<double>(mass.elements()),
               kv_bias_mass_.flat_range(static_cast<std::int64_t>(layer), 1));
}

void Transformer::forward_backward(const Batch& batch, double gradient_scale, Tensor nll, ActivationTap* tap,
                                   const GradientsReady& gradients_ready) {
  const Activations& activations = activations_for(batch);
  const PassContext pass = forward_blocks(batch, activations, tap, Pass::training);
  const Tensor dx = activations.dresidual;
  classifier_.forward(activations.residual.back(), activations.blocks.back().middle, tokens_.targets, pass.shards,
                      activations.classifier, tap, gradient_scale, nll, dx);
  // A tied head's gradient belongs to the embedding's stage, so what is ready follows from the stages alone.
  std::int64_t ready_end = store_.ready_end(Block::stage_of(config_.n_layers));
  gradients_ready(ready_end);
  const Yield yield = [&] { gradients_ready(ready_end); };
  for (std::size_t layer = blocks_.size(); layer-- > 0;) {
    const Tensor input = activations.residual[layer];
    const BlockActivations& saved = activations.blocks[layer];
    // What the last block shares with the others is still its own.
    if (layer + 1 != blocks_.size()) {
      blocks_[layer].recompute(input, pass, options_.recompute, saved, activations.scratch);
    }
    blocks_[layer].backward(input, pass, saved, activations.scratch, yield, dx);
    ready_end = store_.ready_end(Block::stage_of(static_cast<std::int64_t>(layer)));
    gradients_ready(ready_end);
  }
  tokens_ = activations.tokens.with_groups(batch.ids, config_.vocab_size);
  embedding_.backward(tokens_, batch.seq, pass.shards, activations.embedding, dx);
  gradients_ready(store_.ready_end(Embedding::kStage));
}

LossSum Transformer::forward_backward(const Batch& batch, double gradient_scale, ActivationTap* tap,
                                      const GradientsReady& gradients_ready) {
  ops::zero(nll_);
  forward_backward(batch, gradient_scale, nll_, tap, gradients_ready);
  return {download<double>(nll_)[0], counted(batch)};
}

LossSum Transformer::evaluate(const Batch& batch, ActivationTap* tap) {
  const Activations& activations = activations_for(batch);
  const PassContext pass = forward_blocks(batch, activations, tap, Pass::evaluation);
  ops::zero(nll_);
  classifier_.forward(activations.residual.back(), activations.blocks.back().middle, tokens_.targets, pass.shards,
                      activations.classifier, tap, std::nullopt, nll_, Tensor());
  return {download<double>(nll_)[0], counted(batch)};
}

std::vector<TokenLoss> Transformer::token_losses(const Batch& batch) {
  const Activations& activations = activations_for(batch);
  const PassContext pass = forward_blocks(batch, activations, nullptr, Pass::evaluation);
  ops::zero(nll_);
  return classifier_.token_losses(activations.residual.back(), activations.blocks.back().middle, tokens_.targets,
                                  pass.shards, activations.classifier, batch.targets, nll_);
}

void Transformer::logits(const Batch& batch, Tensor out) {
  const Activations& activations = activations_for(batch);
  const PassContext pass = forward_blocks(batch, activations, nullptr, Pass::evaluation);
  classifier_.logits(activations.residual.back(), activations.blocks.back().middle, pass.shards, activations.classifier,
                     out);
}

std::vector<double> Transformer::dyt_alphas() {
  if (config_.norm != NormKind::dyt) return {};
  ops::zero(alphas_);
  std::int64_t index = 0;
  const auto add = [&](const Norm& norm) { ops::add_sum(norm.alpha().value, 1.0, alphas_.flat_range(index++, 1)); };
  for (const Block& block : blocks_) {
    add(block.attention_norm());
    add(block.mlp_norm());
  }
  add(classifier_.norm());
  return download<double>(alphas_);
}

std::vector<double> Transformer::take_kv_bias_mass() {
  const auto passes = static_cast<double>(std::exchange(kv_bias_passes_, 0));
  if (config_.attention.kv_bias == KvBiasKind::none || passes == 0.0) return {};
  std::vector<double> mean = download<double>(kv_bias_mass_);
  ops::zero(kv_bias_mass_);
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
