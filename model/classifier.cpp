#include "model/classifier.h"

#include <algorithm>
#include <cmath>

namespace headroom {
namespace {

int stage_of_head(const ModelConfig& config) {
  return static_cast<int>(config.n_layers) + 1;
}

template <class T>
LossSum sum_loss(const Tensor& sums, std::span<const std::int32_t> targets) {
  const std::int64_t rows = sums.columns();
  const T* const sum_exp = sums.data<T>();
  const T* const target_logit = sum_exp + rows;
  LossSum loss;
  for (std::size_t row = 0; row < targets.size(); ++row) {
    if (targets[row] < 0) continue;
    loss.nll += std::log(static_cast<double>(sum_exp[row])) - static_cast<double>(target_logit[row]);
    ++loss.tokens;
  }
  return loss;
}

}  // namespace

Classifier::Classifier(ParameterStore& store, const ModelConfig& config, std::size_t tied_table, Communicator& tensor)
    : store_(&store),
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
                         .init_std = config.init.std},
                        tensor.rank(), tensor.size());
}

ClassifierActivations Classifier::plan(Arena& arena, std::int64_t rows, std::int64_t chunk, const RowShards& shards,
                                       DType dtype) const {
  const std::int64_t most = std::min(rows, chunk);
  ClassifierActivations saved;
  saved.norm = norm_.plan(arena, shards.local_rows(), dtype);
  saved.input = arena.take({rows, hidden_}, dtype, "norms");
  saved.logits = arena.take({most, (*store_)[head_].local[0]}, dtype, "logits");
  saved.row_max = arena.take({most}, dtype, "logits");
  saved.sums = arena.take({2, most}, dtype, "logits");
  return saved;
}

LossSum Classifier::chunk_loss(const ClassifierActivations& saved, const Tensor& logits,
                               std::span<const std::int32_t> targets) const {
  const Parameter& head = (*store_)[head_];
  const std::int64_t rows = logits.rows();
  const Tensor row_max = saved.row_max.flat_range(0, rows);
  const Tensor sums = saved.sums.flat_range(0, 2 * rows).reshaped({2, rows});
  ops::row_max(logits, head.real, row_max);
  tensor_->all_reduce(row_max, Reduction::max);
  ops::exp_and_sum(row_max, targets, head.first, head.real, logits, sums.flat_range(0, rows),
                   sums.flat_range(rows, rows));
  tensor_->all_reduce(sums, Reduction::sum);
  return sums.dtype() == DType::f64 ? sum_loss<double>(sums, targets) : sum_loss<float>(sums, targets);
}

LossSum Classifier::forward(const Tensor& x, std::span<const std::int32_t> targets, const RowShards& shards,
                            const ClassifierActivations& saved, ActivationTap* tap,
                            std::optional<double> gradient_scale, Tensor dx) const {
  const Parameter& head = (*store_)[head_];
  norm_.forward(x, saved.norm, shards.own(saved.input));
  if (tap != nullptr) tap->hidden(Site::final_norm_output, 0, shards.own(saved.input), shards.first_row());
  shards.gather(saved.input);

  LossSum loss;
  const std::int64_t rows = saved.input.rows();
  for (std::int64_t begin = 0; begin < rows; begin += saved.logits.rows()) {
    const std::int64_t count = std::min(saved.logits.rows(), rows - begin);
    const Tensor input = saved.input.row_range(begin, count);
    const Tensor logits = saved.logits.row_range(0, count);
    const auto chunk_targets = targets.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
    ops::matmul(input, Transpose::no, head.value, Transpose::yes, logits, 1.0, 0.0);
    loss += chunk_loss(saved, logits, chunk_targets);
    if (!gradient_scale) continue;
    ops::cross_entropy_backward(saved.sums.flat_range(0, count), chunk_targets, head.first, head.real, *gradient_scale,
                                logits);
    ops::matmul(logits, Transpose::yes, input, Transpose::no, head.gradient, 1.0, 1.0);
    ops::matmul(logits, Transpose::no, head.value, Transpose::no, input, 1.0, 0.0);
  }
  if (gradient_scale) {
    const Tensor own = shards.own(saved.input);
    shards.sum(saved.input, own);
    ops::zero(dx);
    norm_.backward(own, x, saved.norm, dx);
  }
  return loss;
}

void Classifier::logits(const Tensor& x, const RowShards& shards, const ClassifierActivations& saved,
                        Tensor out) const {
  norm_.forward(x, saved.norm, shards.own(saved.input));
  shards.gather(saved.input);
  ops::matmul(saved.input, Transpose::no, (*store_)[head_].value, Transpose::yes, out, 1.0, 0.0);
}

}  // namespace headroom
