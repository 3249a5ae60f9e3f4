// What attention and its key-value bias say of their heads.
#pragma once

#include <cmath>
#include <string_view>

#include "base/error.h"
#include "tensor/ops.h"

namespace headroom::cpu {

// Fails naming `op` unless every key-value head serves the same number of query heads.
inline void check_heads(std::string_view op, const AttentionShape& shape) {
  HEADROOM_CHECK(shape.n_kv_heads > 0 && shape.n_heads % shape.n_kv_heads == 0,
                 "{}: {} query heads do not divide into {} key-value heads", op, shape.n_heads, shape.n_kv_heads);
}

inline double score_scale(const AttentionShape& shape) {
  return shape.scale > 0.0 ? shape.scale : 1.0 / std::sqrt(static_cast<double>(shape.head_dim));
}

}  // namespace headroom::cpu
