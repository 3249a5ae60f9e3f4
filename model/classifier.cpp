#include "model/classifier.h"

#include <algorithm>
#include <cmath>

#include "tensor/transfer.h"

namespace headroom {
namespace {

int stage_of_head(const ModelConfig& config) {
  return static_cast<int>(config.n_layers) + 1;
}

}  // namespace

Classifier::Classifier(ParameterStore& store, const ModelConfig& config, std::size_t tied_table, Communicator& tensor)
    : layers_(config.n_layers),
      store_(&store),
      tensor_(&tensor),
      hidden_(config.hidden_size),
      norm_(store, config, "final_norm", -1, stage_of_head(config), config.dyt.alpha_other),
      head_(tied_table) {
  if (config.tied_head) return;
  head_ = store.declare({.name = "head.weight",
                         .logical = {config.vocab_size, config.hidden_size},
                         .partition = Partition::rows,
                         .stage = stage_of_head(config),
                         .decay = true,
                         .init_std = config.init.std,
                         .shard_multiple = config.vocab_multiple},
                        tensor.rank(), tensor.size());
}

ClassifierActivations Classifier::plan(Arena& arena, std::int64_t rows, std::int64_t chunk, const RowShards& shards,
                                       DType dtype) const {
  const std::int64_t most = std::min(rows, chunk);
  ClassifierActivations saved;
  saved.norm = norm_.plan(arena, shards.local_rows(), dtype);
  saved.input = arena.take({rows, hidden_}, dtype, "norms");
  saved.logits = arena.take({most, (*store_)[head_].local[0]}, dtype, "logits");
  saved.row_max = arena.take({most}, accumulator_of(dtype), "logits");
  saved.sums = arena.take({2, most}, accumulator_of(dtype), "logits");
  return saved;
}

void Classifier::norm_rows(Tensor x, const Tensor& carried, const RowShards& shards, const ClassifierActivations& saved,
                           ActivationTap* tap) const {
  add_and_norm(norm_, carried, {tap, layers_ - 1, shards.first_row()}, saved.norm, x, shards.own(saved.input));
  if (tap != nullptr) tap->hidden(Site::final_norm_output, 0, shards.own(saved.input), shards.first_row());
  shards.gather(saved.input);
}

// Adds the chunk's loss, and makes the gradient of scale * loss in place of the logits (nothing useful for scale 0).
void Classifier::chunk_loss(const ClassifierActivations& saved, const Tensor& logits, const Tensor& targets,
                            double scale, Tensor nll) const {
  const Parameter& head = (*store_)[head_];
  const std::int64_t rows = logits.rows();
  const Tensor sums = saved.sums.flat_range(0, 2 * rows).reshaped({2, rows});
  const Tensor sum_exp = sums.flat_range(0, rows);
  const Tensor target_logit = sums.flat_range(rows, rows);
  if (tensor_->size() == 1) {
    ops::cross_entropy(targets, head.real, scale, logits, sum_exp, target_logit);
  } else {
    const Tensor row_max = saved.row_max.flat_range(0, rows);
    ops::row_max(logits, head.real, row_max);
    tensor_->all_reduce(row_max, Reduction::max);
    ops::exp_and_sum(row_max, targets, head.first, head.real, logits, sum_exp, target_logit);
    tensor_->all_reduce(sums, Reduction::sum);
    if (scale != 0.0) ops::cross_entropy_backward(sum_exp, targets, head.first, head.real, scale, logits);
  }
  ops::add_token_losses(sum_exp, target_logit, targets, nll);
}

void Classifier::forward(Tensor x, const Tensor& carried, const Tensor& targets, const RowShards& shards,
                         const ClassifierActivations& saved, ActivationTap* tap, std::optional<double> gradient_scale,
                         Tensor nll, Tensor dx) const {
  const Parameter& head = (*store_)[head_];
  norm_rows(x, carried, shards, saved, tap);
  const std::int64_t rows = saved.input.rows();
  for (std::int64_t begin = 0; begin < rows; begin += saved.logits.rows()) {
    const std::int64_t count = std::min(saved.logits.rows(), rows - begin);
    const Tensor input = saved.input.row_range(begin, count);
    const Tensor logits = saved.logits.row_range(0, count);
    ops::matmul(input, Transpose::no, head.value, Transpose::yes, logits, 1.0, 0.0);
    chunk_loss(saved, logits, targets.flat_range(begin, count), gradient_scale.value_or(0.0), nll);
    if (!gradient_scale) continue;
    ops::matmul(logits, Transpose::yes, input, Transpose::no, head.gradient, 1.0, 1.0);
    ops::matmul(logits, Transpose::no, head.value, Transpose::no, input, 1.0, 0.0);
  }
  if (gradient_scale) {
    const Tensor own = shards.own(saved.input);
    shards.sum(saved.input, own);
    ops::zero(dx);
    norm_.backward(own, x, saved.norm, dx);
  }
}

std::vector<TokenLoss> Classifier::token_losses(Tensor x, const Tensor& carried, const Tensor& targets,
                                                const RowShards& shards, const ClassifierActivations& saved,
                                                std::span<const std::int32_t> host_targets, Tensor nll) const {
  norm_rows(x, carried, shards, saved, nullptr);
  const std::int64_t rows = saved.input.rows();
  std::vector<TokenLoss> losses;
  losses.reserve(static_cast<std::size_t>(rows));
  for (std::int64_t begin = 0; begin < rows; begin += saved.logits.rows()) {
    const std::int64_t count = std::min(saved.logits.rows(), rows - begin);
    const Tensor logits = saved.logits.row_range(0, count);
    ops::matmul(saved.input.row_range(begin, count), Transpose::no, (*store_)[head_].value, Transpose::yes, logits, 1.0,
                0.0);
    chunk_loss(saved, logits, targets.flat_range(begin, count), 0.0, nll);
    // Sum of exponentials and target's logit, both relative to the row's largest logit.
    const std::vector<double> sums = download_as<double>(saved.sums.flat_range(0, 2 * count));
    for (std::int64_t row = 0; row < count; ++row) {
      const double target = sums[static_cast<std::size_t>(count + row)];
      const bool counts = host_targets[static_cast<std::size_t>(begin + row)] >= 0;
      losses.push_back(counts ? TokenLoss{std::log(sums[static_cast<std::size_t>(row)]) - target, target == 0.0}
                              : TokenLoss{});
    }
  }
  return losses;
}

void Classifier::logits(Tensor x, const Tensor& carried, const RowShards& shards, const ClassifierActivations& saved,
                        Tensor out) const {
  norm_rows(x, carried, shards, saved, nullptr);
  ops::matmul(saved.input, Transpose::no, (*store_)[head_].value, Transpose::yes, out, 1.0, 0.0);
}

}  // namespace headroom
