#include "model/block.h"

#include <cmath>

#include "model/residual_sum.h"

namespace headroom {
namespace {

std::string name_of(std::int64_t layer, const char* part) {
  return fmt::format("layers.{}.{}", layer, part);
}

// Standard deviation of a block's input-side linears.
double input_std(const ModelConfig& config, std::int64_t layer) {
  return config.init.lir ? config.init.std / std::sqrt(static_cast<double>(layer + 1)) : config.init.std;
}

// Of those that write into the residual stream (o, down); GPT-2 scales them by 1 / sqrt(2 n_layers).
double output_std(const ModelConfig& config, std::int64_t layer) {
  const double std = input_std(config, layer);
  return config.init.scheme == InitScheme::gpt2 ? std / std::sqrt(2.0 * static_cast<double>(config.n_layers)) : std;
}

}  // namespace

Block::Block(ParameterStore& store, const ModelConfig& config, std::int64_t layer, int tensor_rank, int tensor_size)
    : layer_(layer),
      hidden_(config.hidden_size),
      attention_norm_(store, config, name_of(layer, "attention_norm"), layer, stage_of(layer),
                      config.dyt.alpha_attention),
      attention_(store, config, name_of(layer, "attention"),
                 {layer, stage_of(layer), input_std(config, layer), tensor_rank, tensor_size},
                 output_std(config, layer)),
      mlp_norm_(store, config, name_of(layer, "mlp_norm"), layer, stage_of(layer), config.dyt.alpha_other),
      mlp_(store, config, name_of(layer, "mlp"),
           {layer, stage_of(layer), input_std(config, layer), tensor_rank, tensor_size}, output_std(config, layer)) {}

BlockActivations Block::plan(Arena& arena, const AttentionShape& shape, const RowShards& shards, DType dtype,
                             Recompute recompute, const BlockActivations* shared) const {
  if (shared != nullptr && recompute == Recompute::block) return *shared;
  const bool norms_again = shared != nullptr && recompute >= Recompute::norms;
  const auto normed = [&] { return arena.take({shape.rows(), hidden_}, dtype, "norms"); };
  BlockActivations saved;
  saved.attention_norm = attention_norm_.plan(arena, shards.local_rows(), dtype);
  saved.attention_input = norms_again ? shared->attention_input : normed();
  saved.attention = attention_.plan(arena, shape, dtype, recompute, shared != nullptr ? &shared->attention : nullptr);
  saved.middle = arena.take({shards.local_rows(), hidden_}, dtype, "residual stream");
  saved.mlp_norm = mlp_norm_.plan(arena, shards.local_rows(), dtype);
  saved.mlp_input = norms_again ? shared->mlp_input : normed();
  saved.mlp = mlp_.plan(arena, shape.rows(), dtype, recompute, shared != nullptr ? &shared->mlp : nullptr);
  return saved;
}

BlockScratch Block::plan_scratch(Arena& arena, const AttentionShape& shape, const RowShards& shards,
                                 DType dtype) const {
  BlockScratch scratch;
  scratch.attention = attention_.plan_scratch(arena, shape, dtype);
  scratch.mlp = mlp_.plan_scratch(arena, shape.rows(), dtype);
  if (!shards.alone()) scratch.gathered = arena.take({shape.rows(), hidden_}, dtype, "scratch");
  scratch.dinput = arena.take({shape.rows(), hidden_}, dtype, "scratch");
  return scratch;
}

void Block::forward(Tensor x, const Tensor& carried, const PassContext& pass, const BlockActivations& saved,
                    const BlockScratch& scratch, ActivationTap* tap, Tensor y) const {
  const RowShards& shards = pass.shards;
  const auto look = [&](Site site, const Tensor& rows) {
    if (tap != nullptr) tap->hidden(site, layer_, rows, shards.first_row());
  };

  if (carried.present()) {
    add_and_norm(attention_norm_, carried, {tap, layer_ - 1, shards.first_row()}, saved.attention_norm, x,
                 shards.own(saved.attention_input));
  } else {
    attention_norm_.forward(x, saved.attention_norm, shards.own(saved.attention_input));
  }
  look(Site::attention_norm_output, shards.own(saved.attention_input));
  shards.gather(saved.attention_input);
  attention_.attend(saved.attention_input, pass.rotary, pass.shape, saved.attention);
  attention_.project(shards, saved.attention, scratch.attention, saved.middle);
  if (tap != nullptr) tap->attention(layer_, attention_.view(saved.attention, pass.shape));
  look(Site::attention_output, saved.middle);

  mlp_norm_.add_forward(x, {}, saved.mlp_norm, saved.middle, shards.own(saved.mlp_input));
  look(Site::mlp_norm_output, shards.own(saved.mlp_input));
  shards.gather(saved.mlp_input);
  mlp_.forward(saved.mlp_input, shards, saved.mlp, scratch.mlp, y);
  look(Site::mlp_output, y);
}

void Block::recompute(const Tensor& x, const PassContext& pass, Recompute level, const BlockActivations& saved,
                      const BlockScratch& scratch) const {
  if (level == Recompute::none) return;
  const RowShards& shards = pass.shards;
  attention_norm_.forward(x, saved.attention_norm, shards.own(saved.attention_input));
  shards.gather(saved.attention_input);
  if (level >= Recompute::attention) {
    attention_.attend(saved.attention_input, pass.rotary, pass.shape, saved.attention);
  }
  if (level == Recompute::block) {
    attention_.project(shards, saved.attention, scratch.attention, saved.middle);
    mlp_norm_.add_forward(x, {}, saved.mlp_norm, saved.middle, shards.own(saved.mlp_input));
  } else {
    mlp_norm_.forward(saved.middle, saved.mlp_norm, shards.own(saved.mlp_input));
  }
  shards.gather(saved.mlp_input);
  mlp_.recompute(saved.mlp_input, level, saved.mlp);
}

void Block::backward(const Tensor& x, const PassContext& pass, const BlockActivations& saved,
                     const BlockScratch& scratch, const Yield& yield, Tensor dx) const {
  const RowShards& shards = pass.shards;
  // Every rank's rows of the residual gradient: dx itself when there is one rank.
  const auto gather = [&]() {
    if (shards.alone()) return dx;
    ops::copy(dx, shards.own(scratch.gathered));
    shards.gather(scratch.gathered);
    return scratch.gathered;
  };
  // This rank's rows of a gradient that is a sum over ranks.
  const auto sum_rows = [&]() {
    const Tensor own = shards.own(scratch.dinput);
    shards.sum(scratch.dinput, own);
    return own;
  };

  mlp_.backward(gather(), saved.mlp_input, shards, saved.mlp, scratch.mlp, yield, scratch.dinput);
  mlp_norm_.backward(sum_rows(), saved.middle, saved.mlp_norm, dx);

  attention_.backward(gather(), saved.attention_input, pass.rotary, pass.shape, shards, saved.attention,
                      scratch.attention, yield, scratch.dinput);
  attention_norm_.backward(sum_rows(), x, saved.attention_norm, dx);
}

}  // namespace headroom
