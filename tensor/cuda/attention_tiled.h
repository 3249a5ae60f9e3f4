// Causal attention by kernels of ours, in tiles that stay in shared memory (Dao et al. 2022, FlashAttention): the
// reference that the fused library's is tested against, and what serves shapes or machines the library does not.
// Any sequence length, heads of up to kLargestTiledHead numbers, grouped queries; f32 arithmetic, no tensor cores.
#pragma once

#include "tensor/ops.h"

namespace headroom::cuda {

inline constexpr std::int64_t kLargestTiledHead = 256;

// As OpTable's attention, attention_backward and attention_probabilities.
void tiled_attention(const Tensor& qkv, const AttentionShape& shape, Tensor out, Tensor lse);
void tiled_attention_backward(const Tensor& dout, const Tensor& qkv, const Tensor& out, const Tensor& lse,
                              const AttentionShape& shape, Tensor dqkv);
void attention_probabilities(const Tensor& qkv, const Tensor& lse, const AttentionShape& shape, std::int64_t sequence,
                             std::int64_t head, Tensor probs);

}  // namespace headroom::cuda
