// Attention by cuDNN's fused kernels: causal, grouped queries, bf16. The library is looked for when it is first needed,
// so that a machine without it loses this and nothing else:
//
//   HEADROOM_CUDNN=FILE   the library to open, instead of libcudnn.so.9 wherever the loader finds it.
//
// The backward is deterministic. cuDNN then keeps the scores' gradients of a call in working memory, 2 batch n_heads
// seq^2 bytes, instead of adding up the queries' gradients by atomics; so a call is cut into sequences, or into a
// sequence's heads, that fit workspace_bytes(), which changes no bits.
//
//   HEADROOM_DETERMINISTIC_ATTENTION=0   lets it use atomics, for measuring what the order costs.
//
// What moves and what is computed, for R = batch seq tokens of q query and v key-value numbers (q = n_heads head_dim),
// in bf16: forward 4 q R + 4 v R bytes, 2 q seq R flops (half of 4 q seq R, which is causal's due); backward 8 q R + 8
// v R, and another 2 n_heads seq R written and read where it is deterministic; 5 q seq R flops. LLaMA-1B (16 heads of
// 128, no grouping, seq 2048), 8 sequences: 0.14 TFLOP forward, 0.34 backward, at most 1.1 GB of scores' gradients
// written and as much read.
#pragma once

#include <string>

#include "tensor/ops.h"

namespace headroom::cuda {

enum class AttentionPass : std::uint8_t { forward, backward };

// Whether cuDNN is here and computes this. Finding out the first time takes as long as making the call's plan, up to
// seconds; the answer is remembered, a refusal is said once on the standard error output.
bool fused_attention_serves(AttentionPass pass, const AttentionShape& shape, DType dtype);

// As OpTable's attention and attention_backward; only if it serves, and only at 16-byte aligned addresses.
void fused_attention(const Tensor& qkv, const AttentionShape& shape, Tensor out, Tensor lse);
void fused_attention_backward(const Tensor& dout, const Tensor& qkv, const Tensor& out, const Tensor& lse,
                              const AttentionShape& shape, Tensor dqkv);

// "cuDNN 9.19.0 (frontend 1.32.0)", or why there is none. Needs no device.
std::string fused_attention_part();

}  // namespace headroom::cuda
