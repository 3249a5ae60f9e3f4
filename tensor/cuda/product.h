// Matrix products by cuBLASLt, with what may follow a product in the same kernel: a bias, GELU, its derivative.
//
// A product of a shape seen for the first time is tried with the algorithms that the library proposes for it, each
// timed on the real operands, and the fastest serves that shape for the life of the process:
//
//   HEADROOM_CUBLASLT_TUNE=0       takes the library's first proposal instead.
//   HEADROOM_CUBLASLT_CACHE=FILE   keeps the choices in a file (tensor/cuda/product_choices.h). Different algorithms
//                                  round differently, so bits are the same from process to process only with the file,
//                                  or without tuning.
//
// Within a process the same product always has the same bits: sums of f32 in a fixed order. Of the library's schemes
// for splitting the sum over k (reduction schemes) only those are allowed that keep the parts in f32 and add them up in
// a step of their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "tensor/cuda/runtime.h"
#include "tensor/ops.h"

namespace headroom::cuda {

// What is done to alpha * op(a) op(b) + beta * c before it is stored:
enum class Epilogue : std::uint8_t {
  none,
  bias,             // + bias
  gelu,             // stored as `inner`; c = gelu_tanh of it
  bias_gelu,        // + bias, then as gelu
  gelu_derivative,  // * gelu_tanh'(inner)
};

// c [m, n] = epilogue(alpha * op(a) op(b) + beta * c), all row-major without gaps; op(a) [m, k], op(b) [k, n], bias
// [n], inner [m, n]. a and b are of `input`, the others of `output`. With beta = 0, c is not read.
struct Product {
  std::int64_t m;
  std::int64_t n;
  std::int64_t k;  // at least 1, as m and n
  Transpose transpose_a = Transpose::no;
  Transpose transpose_b = Transpose::no;
  DType input = DType::f32;
  DType output = DType::f32;
  Epilogue epilogue = Epilogue::none;
  float alpha = 1.0F;
  float beta = 0.0F;
  const void* a = nullptr;
  const void* b = nullptr;
  void* c = nullptr;
  const void* bias = nullptr;
  void* inner = nullptr;
};

// Computes it, or returns false, with nothing done, where the library has no algorithm for such a product with that
// epilogue. Without an epilogue it throws ExitCode::internal instead. Waits for the device when a shape is new.
// `workspace`: product_workspace_bytes() of device memory, 256-byte aligned.
bool try_product(const Product& product, void* workspace);

std::size_t product_workspace_bytes();

// "cuBLASLt 13.1.0"; needs no device.
std::string cublaslt_part();

}  // namespace headroom::cuda
