// The normalisation of a block or of the final state: RMSNorm, LayerNorm or DyT, one switch.
#pragma once

#include <string>

#include "model/config.h"
#include "model/parameters.h"

namespace headroom {

// What a backward needs of its forward: a number a row.
struct NormStatistics {
  Tensor mean;  // LayerNorm only
  Tensor rstd;  // absent for DyT
};

class Norm {
 public:
  // Declares `name`.weight, .bias (norm_bias) and .alpha (DyT, initially `alpha`).
  Norm(ParameterStore& store, const ModelConfig& config, const std::string& name, std::int64_t layer, int stage,
       double alpha);

  NormStatistics plan(Arena& arena, std::int64_t rows, DType dtype) const;

  // x, y [rows, hidden]
  void forward(const Tensor& x, const NormStatistics& statistics, Tensor y) const;
  // The same of a residual sum: h += x, y = norm(h); h's magnitudes are added to `seen`.
  void add_forward(const Tensor& x, const Magnitudes& seen, const NormStatistics& statistics, Tensor h, Tensor y) const;
  // dx += d loss / d x
  void backward(const Tensor& dy, const Tensor& x, const NormStatistics& statistics, Tensor dx) const;

  // DyT's learned alpha; only for NormKind::dyt.
  const Parameter& alpha() const { return (*store_)[alpha_]; }

 private:
  Tensor bias() const;  // absent without one

  ParameterStore* store_;
  NormKind kind_;
  double eps_;
  bool has_bias_;
  std::size_t weight_;
  std::size_t bias_ = 0;
  std::size_t alpha_ = 0;
};

}  // namespace headroom
