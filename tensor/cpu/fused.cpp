// Operations that a GPU does in one pass over memory, put together here from their parts: a CPU's caches keep what one
// part leaves for the next, block by block of rows.
#include <algorithm>

#include "tensor/cpu/table.h"

namespace headroom::cpu {
namespace {

// Calls visit(begin, count) for blocks of rows that fit the caches between two passes.
template <class Visit>
void over_row_blocks(const Tensor& x, const Visit& visit) {
  constexpr std::int64_t kCached = std::int64_t{1} << 20;  // bytes
  const std::int64_t row_bytes = x.columns() * static_cast<std::int64_t>(size_of(x.dtype()));
  const std::int64_t step = std::max<std::int64_t>(64, kCached / std::max<std::int64_t>(row_bytes, 1));
  for (std::int64_t begin = 0; begin < x.rows(); begin += step) visit(begin, std::min(step, x.rows() - begin));
}

// h += x and h's magnitudes, for some rows of both.
void add_and_see(const Tensor& x, const Magnitudes& seen, const Tensor& h, std::int64_t begin, std::int64_t count) {
  ops::add(x.row_range(begin, count), h.row_range(begin, count));
  if (seen.summary.present()) {
    ops::summarize_magnitudes(h.row_range(begin, count), Magnitudes{seen.summary, seen.first_row + begin});
  }
}

void add_rms_norm(const Tensor& x, const Magnitudes& seen, const Tensor& gamma, double eps, Tensor h, Tensor y,
                  Tensor rstd) {
  over_row_blocks(x, [&](std::int64_t begin, std::int64_t count) {
    add_and_see(x, seen, h, begin, count);
    ops::rms_norm(h.row_range(begin, count), gamma, eps, y.row_range(begin, count), rstd.flat_range(begin, count));
  });
}

void add_layer_norm(const Tensor& x, const Magnitudes& seen, const Tensor& gamma, const Tensor& beta, double eps,
                    Tensor h, Tensor y, Tensor mean, Tensor rstd) {
  over_row_blocks(x, [&](std::int64_t begin, std::int64_t count) {
    add_and_see(x, seen, h, begin, count);
    ops::layer_norm(h.row_range(begin, count), gamma, beta, eps, y.row_range(begin, count),
                    mean.flat_range(begin, count), rstd.flat_range(begin, count));
  });
}

void add_dyt(const Tensor& x, const Magnitudes& seen, const Tensor& alpha, const Tensor& gamma, const Tensor& beta,
             Tensor h, Tensor y) {
  over_row_blocks(x, [&](std::int64_t begin, std::int64_t count) {
    add_and_see(x, seen, h, begin, count);
    ops::dyt(h.row_range(begin, count), alpha, gamma, beta, y.row_range(begin, count));
  });
}

void linear_gelu(const Tensor& x, const Tensor& w, const Tensor& bias, Tensor inner, Tensor y) {
  ops::linear(x, w, bias, inner);
  ops::activation(Activation::gelu_tanh, inner, y);
}

void linear_gelu_backward(const Tensor& dy, const Tensor& w, const Tensor& inner, Tensor dinner) {
  ops::matmul(dy, Transpose::no, w, Transpose::no, dinner, 1.0, 0.0);
  ops::activation_backward(Activation::gelu_tanh, dinner, inner, dinner);
}

}  // namespace

void fill_fused(OpTable& table) {
  table.add_rms_norm = add_rms_norm;
  table.add_layer_norm = add_layer_norm;
  table.add_dyt = add_dyt;
  table.linear_gelu = linear_gelu;
  table.linear_gelu_backward = linear_gelu_backward;
}

}  // namespace headroom::cpu
