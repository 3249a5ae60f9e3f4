#include "model/norm.h"

namespace headroom {

Norm::Norm(ParameterStore& store, const ModelConfig& config, const std::string& name, std::int64_t layer, int stage,
           double alpha)
    : store_(&store), kind_(config.norm), eps_(config.norm_eps), has_bias_(config.norm_bias && kind_ != NormKind::rms) {
  const auto declare = [&](const std::string& suffix, std::int64_t size, double initial) {
    return store.declare(
        {.name = name + suffix, .logical = {size}, .layer = layer, .stage = stage, .init_mean = initial}, 0, 1);
  };
  weight_ = declare(".weight", config.hidden_size, 1.0);
  if (has_bias_) bias_ = declare(".bias", config.hidden_size, 0.0);
  if (kind_ == NormKind::dyt) alpha_ = declare(".alpha", 1, alpha);
}

NormStatistics Norm::plan(Arena& arena, std::int64_t rows, DType dtype) const {
  NormStatistics statistics;
  const DType wide = accumulator_of(dtype);
  if (kind_ == NormKind::layer) statistics.mean = arena.take({rows}, wide, "norms");
  if (kind_ != NormKind::dyt) statistics.rstd = arena.take({rows}, wide, "norms");
  return statistics;
}

void Norm::forward(const Tensor& x, const NormStatistics& statistics, Tensor y) const {
  const Tensor weight = (*store_)[weight_].value;
  switch (kind_) {
    case NormKind::rms:
      ops::rms_norm(x, weight, eps_, y, statistics.rstd);
      break;
    case NormKind::layer:
      ops::layer_norm(x, weight, bias(), eps_, y, statistics.mean, statistics.rstd);
      break;
    case NormKind::dyt:
      ops::dyt(x, (*store_)[alpha_].value, weight, bias(), y);
      break;
  }
}

void Norm::add_forward(const Tensor& x, const Magnitudes& seen, const NormStatistics& statistics, Tensor h,
                       Tensor y) const {
  const Tensor weight = (*store_)[weight_].value;
  switch (kind_) {
    case NormKind::rms:
      ops::add_rms_norm(x, seen, weight, eps_, h, y, statistics.rstd);
      break;
    case NormKind::layer:
      ops::add_layer_norm(x, seen, weight, bias(), eps_, h, y, statistics.mean, statistics.rstd);
      break;
    case NormKind::dyt:
      ops::add_dyt(x, seen, (*store_)[alpha_].value, weight, bias(), h, y);
      break;
  }
}

Tensor Norm::bias() const {
  return has_bias_ ? (*store_)[bias_].value : Tensor();
}

void Norm::backward(const Tensor& dy, const Tensor& x, const NormStatistics& statistics, Tensor dx) const {
  const Parameter& weight = (*store_)[weight_];
  const Tensor dbias = has_bias_ ? (*store_)[bias_].gradient : Tensor();
  switch (kind_) {
    case NormKind::rms:
      ops::rms_norm_backward(dy, x, weight.value, statistics.rstd, dx, weight.gradient);
      break;
    case NormKind::layer:
      ops::layer_norm_backward(dy, x, weight.value, statistics.mean, statistics.rstd, dx, weight.gradient, dbias);
      break;
    case NormKind::dyt: {
      const Parameter& alpha = (*store_)[alpha_];
      ops::dyt_backward(dy, x, alpha.value, weight.value, dx, alpha.gradient, weight.gradient, dbias);
      break;
    }
  }
}

}  // namespace headroom
