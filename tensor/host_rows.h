// Operations on rows in host memory, f32, that only a forward pass of other people's models needs (model/decoder).
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace headroom::host {

enum class RowActivation : std::uint8_t { silu, gelu, gelu_tanh, relu };
// y = f(x); may be the same memory.
void activate(RowActivation kind, const Tensor& x, Tensor y);
// y = f(gate) * up; gate_up [R, 2F], gates first, y [R, F].
void activate_gated(RowActivation kind, const Tensor& gate_up, Tensor y);

// x = cap * tanh(x / cap)
void soft_cap(double cap, Tensor x);
// x = min(max(x, -limit), limit)
void clamp(double limit, Tensor x);
// x *= factor
void scale(double factor, Tensor x);

// Norms each of `blocks` runs of `width` columns, from column `first` on, in every row by itself, in place:
// RMSNorm, or LayerNorm where `centred`. weight, bias [width], may be absent.
struct ColumnBlocks {
  std::int64_t first;
  std::int64_t blocks;
  std::int64_t width;
};
void norm_blocks(bool centred, double eps, const Tensor& weight, const Tensor& bias, const ColumnBlocks& columns,
                 Tensor x);

}  // namespace headroom::host
