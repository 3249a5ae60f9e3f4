// Which attention: cuDNN's fused kernels (tensor/cuda/fused_attention.h) in bf16 where they serve, else the tiled
// kernels of our own (tensor/cuda/attention_tiled.h), which also compute f32. Both leave the same out and lse, so that
// passes may mix.
//
//   HEADROOM_FUSED_ATTENTION=0   our own always.
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <string_view>

#include "tensor/cuda/attention_tiled.h"
#include "tensor/cuda/dispatch.h"
#include "tensor/cuda/table.h"
#ifdef HEADROOM_WITH_CUDNN
#include "tensor/cuda/fused_attention.h"
#endif

namespace headroom::cuda {
namespace {

void check_shape(std::string_view op, const AttentionShape& shape, const Tensor& qkv, const Tensor& lse) {
  HEADROOM_CHECK(shape.n_kv_heads > 0 && shape.n_heads % shape.n_kv_heads == 0 && shape.head_dim > 0,
                 "{}: {} heads of {} over {} key-value heads", op, shape.n_heads, shape.head_dim, shape.n_kv_heads);
  HEADROOM_CHECK(shape.plain(), "{}: windows, soft caps and scales are the CPU's alone", op);
  expect(op, "qkv", qkv, qkv.dtype(), shape.rows() * shape.qkv_width());
  expect(op, "lse", lse, accumulator_of(qkv.dtype()), shape.batch * shape.n_heads * shape.seq);
}

#ifdef HEADROOM_WITH_CUDNN
bool fused_allowed() {
  static const bool allowed = [] {
    const char* const value = std::getenv("HEADROOM_FUSED_ATTENTION");
    return value == nullptr || std::string_view(value) != "0";
  }();
  return allowed;
}

// The library moves 16 bytes at a time.
bool fused(AttentionPass pass, const AttentionShape& shape, std::initializer_list<const Tensor*> tensors) {
  for (const Tensor* tensor : tensors) {
    if (reinterpret_cast<std::uintptr_t>(tensor->raw()) % 16 != 0) return false;
  }
  return fused_allowed() && fused_attention_serves(pass, shape, (*tensors.begin())->dtype());
}
#endif

void attention(const Tensor& qkv, const AttentionShape& shape, Tensor out, Tensor lse) {
  check_shape("attention", shape, qkv, lse);
  expect("attention", "out", out, qkv.dtype(), shape.rows() * shape.query_width());
#ifdef HEADROOM_WITH_CUDNN
  if (fused(AttentionPass::forward, shape, {&qkv, &out})) return fused_attention(qkv, shape, out, lse);
#endif
  tiled_attention(qkv, shape, out, lse);
}

void attention_backward(const Tensor& dout, const Tensor& qkv, const Tensor& out, const Tensor& lse,
                        const AttentionShape& shape, Tensor dqkv) {
  constexpr std::string_view kOp = "attention_backward";
  check_shape(kOp, shape, qkv, lse);
  expect(kOp, "dout", dout, qkv.dtype(), shape.rows() * shape.query_width());
  expect(kOp, "out", out, qkv.dtype(), dout.elements());
  expect(kOp, "dqkv", dqkv, qkv.dtype(), qkv.elements());
#ifdef HEADROOM_WITH_CUDNN
  if (fused(AttentionPass::backward, shape, {&qkv, &dout, &out, &dqkv})) {
    return fused_attention_backward(dout, qkv, out, lse, shape, dqkv);
  }
#endif
  tiled_attention_backward(dout, qkv, out, lse, shape, dqkv);
}

}  // namespace

void fill_attention(OpTable& table) {
  table.attention = attention;
  table.attention_backward = attention_backward;
  table.attention_probabilities = attention_probabilities;
}

}  // namespace headroom::cuda
