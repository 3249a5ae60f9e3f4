// Attention of a sequence's newest tokens over keys and values that were kept of those before, for generation: host
// memory, f32. A new token's scores are a dot product a key; no matrix product would be faster.
#pragma once

#include <cstdint>

#include "tensor/ops.h"

namespace headroom::host {

// Keys and values [n_kv_heads, capacity, head_dim] of a sequence's first tokens.
struct CachedKeys {
  const float* keys;
  const float* values;
  std::int64_t capacity;
  std::int64_t before;  // tokens before the newest
};

// out = softmax(scores) values, as ops::attention and ops::kv_bias have them: row i of qkv [seq, qkv_width] is token
// before + i, whose key and value are in the cache already; shape.batch is 1. bias_key, bias_value
// [n_kv_heads, head_dim]: a slot that every query sees beside the keys; may be absent, the value also alone (0).
// out [seq, query_width].
void cached_attention(const Tensor& qkv, const AttentionShape& shape, const CachedKeys& cache, const Tensor& bias_key,
                      const Tensor& bias_value, Tensor out);

}  // namespace headroom::host
