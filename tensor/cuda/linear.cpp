// Matrix products and linear layers: which product of tensor/cuda/product.h an operation is, and what it is made of
// where cuBLASLt does not have it in one: a plain product, then a kernel of ours.
//
// 2 m n k operations a product; y [R, out] = x w^T of R = 16384 tokens, in = out = 2048 in bf16 moves 142 MB and
// computes 137 GFLOP, so it is limited by arithmetic: 0.14 ms at an H100's 989 TFLOP/s, 0.04 ms of memory. What an
// epilogue saves is one more reading and writing of y: 4 R out bytes in bf16.
#include <algorithm>

#include "tensor/cuda/dispatch.h"
#include "tensor/cuda/launch.h"
#include "tensor/cuda/product.h"
#include "tensor/cuda/table.h"
#include "tensor/round_up.h"

namespace headroom::cuda {
namespace {

// Whether the library has it in one; if so, it is done.
bool compute(const Product& product) {
  Scratch scratch;
  return try_product(product, scratch.take<std::byte>(static_cast<std::int64_t>(product_workspace_bytes())));
}

// c = beta * c, which is what a product over nothing does. As a product with a k of 1 and zeros.
void scale(double beta, const Tensor& c) {
  if (beta == 0.0) return op_table().zero(c);
  Scratch scratch;
  void* const workspace = scratch.take<std::byte>(static_cast<std::int64_t>(product_workspace_bytes()));
  const std::int64_t length = std::max(c.rows(), c.columns());
  float* const zeros = scratch.take<float>(length);
  check(cudaMemsetAsync(zeros, 0, static_cast<std::size_t>(length) * sizeof(float), stream()), "cudaMemsetAsync");
  try_product({.m = c.rows(),
               .n = c.columns(),
               .k = 1,
               .input = c.dtype(),
               .output = c.dtype(),
               .beta = static_cast<float>(beta),
               .a = zeros,
               .b = zeros,
               .c = c.raw()},
              workspace);
}

void matmul(const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b, Tensor c, double alpha,
            double beta) {
  HEADROOM_CHECK(a.dtype() == b.dtype() && (c.dtype() == a.dtype() || c.dtype() == accumulator_of(a.dtype())),
                 "matmul: {} times {} into {}", name_of(a.dtype()), name_of(b.dtype()), name_of(c.dtype()));
  const bool flip_a = transpose_a == Transpose::yes;
  const bool flip_b = transpose_b == Transpose::yes;
  const std::int64_t m = flip_a ? a.columns() : a.rows();
  const std::int64_t k = flip_a ? a.rows() : a.columns();
  const std::int64_t n = flip_b ? b.rows() : b.columns();
  HEADROOM_CHECK(k == (flip_b ? b.columns() : b.rows()) && c.rows() == m && c.columns() == n,
                 "matmul: a {}{}, b {}{}, c {} do not fit", a.shape().text(), flip_a ? " transposed" : "",
                 b.shape().text(), flip_b ? " transposed" : "", c.shape().text());
  if (m == 0 || n == 0) return;
  if (k == 0) return scale(beta, c);
  compute({.m = m,
           .n = n,
           .k = k,
           .transpose_a = transpose_a,
           .transpose_b = transpose_b,
           .input = a.dtype(),
           .output = c.dtype(),
           .alpha = static_cast<float>(alpha),
           .beta = static_cast<float>(beta),
           .a = a.raw(),
           .b = b.raw(),
           .c = c.raw()});
}

// The product x w^T into y, with all checks; an epilogue is the caller's to add.
Product linear_product(std::string_view op, const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& y) {
  HEADROOM_CHECK(x.columns() == w.columns(), "{}: x {} and w {} do not fit", op, x.shape().text(), w.shape().text());
  expect(op, "w", w, x.dtype(), w.elements());
  expect(op, "y", y, x.dtype(), x.rows() * w.rows());
  if (bias.present()) expect(op, "bias", bias, x.dtype(), w.rows());
  return {.m = x.rows(),
          .n = w.rows(),
          .k = x.columns(),
          .transpose_b = Transpose::yes,
          .input = x.dtype(),
          .output = x.dtype(),
          .a = x.raw(),
          .b = w.raw(),
          .c = y.raw(),
          .bias = bias.raw()};
}

void linear(const Tensor& x, const Tensor& w, const Tensor& bias, Tensor y) {
  Product product = linear_product("linear", x, w, bias, y);
  if (product.m == 0 || product.n == 0) return;
  if (bias.present() && product.k > 0) {
    product.epilogue = Epilogue::bias;
    if (compute(product)) return;
  }
  matmul(x, Transpose::no, w, Transpose::yes, y.reshaped({product.m, product.n}), 1.0, 0.0);
  if (bias.present()) op_table().add_bias(bias, y);
}

void linear_gelu(const Tensor& x, const Tensor& w, const Tensor& bias, Tensor inner, Tensor y) {
  Product product = linear_product("linear_gelu", x, w, bias, y);
  expect("linear_gelu", "inner", inner, x.dtype(), y.elements());
  if (product.m == 0 || product.n == 0) return;
  if (product.k > 0) {
    product.epilogue = bias.present() ? Epilogue::bias_gelu : Epilogue::gelu;
    product.inner = inner.raw();
    if (compute(product)) return;
  }
  linear(x, w, bias, inner);
  op_table().activation(Activation::gelu_tanh, inner, y);
}

void linear_gelu_backward(const Tensor& dy, const Tensor& w, const Tensor& inner, Tensor dinner) {
  constexpr std::string_view kOp = "linear_gelu_backward";
  HEADROOM_CHECK(dy.columns() == w.rows(), "{}: dy {} and w {} do not fit", kOp, dy.shape().text(), w.shape().text());
  expect(kOp, "w", w, dy.dtype(), w.elements());
  expect(kOp, "inner", inner, dy.dtype(), dy.rows() * w.columns());
  expect(kOp, "dinner", dinner, dy.dtype(), inner.elements());
  Product product{.m = dy.rows(),
                  .n = w.columns(),
                  .k = dy.columns(),
                  .input = dy.dtype(),
                  .output = dy.dtype(),
                  .a = dy.raw(),
                  .b = w.raw(),
                  .c = dinner.raw()};
  if (product.m == 0 || product.n == 0) return;
  if (product.k == 0) return op_table().zero(dinner);
  product.epilogue = Epilogue::gelu_derivative;
  product.inner = inner.raw();
  if (compute(product)) return;
  product.epilogue = Epilogue::none;
  compute(product);
  op_table().activation_backward(Activation::gelu_tanh, dinner, inner, dinner);
}

}  // namespace

void fill_linear(OpTable& table) {
  table.matmul = matmul;
  table.linear = linear;
  table.linear_gelu = linear_gelu;
  table.linear_gelu_backward = linear_gelu_backward;
}

}  // namespace headroom::cuda
