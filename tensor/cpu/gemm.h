// The one door to the libraries' matrix products: oneDNN for f32, OpenBLAS for f64. Row-major with leading
// dimensions. Outside a parallel region a product uses all threads, inside one only the caller's.
#pragma once

#include <cblas.h>
#include <dnnl.h>
#include <omp.h>

#include <cstdint>

#include "base/error.h"
#include "tensor/cpu/product_log.h"
#include "tensor/ops.h"

namespace headroom::cpu {

// A matrix in memory and the distance between its rows, in elements.
template <class T>
struct Strided {
  T* data;
  std::int64_t stride;
};

// c[m, n] = alpha * op(a) op(b) + beta * c; op(a) [m, k], op(b) [k, n]. With beta = 0, c is not read.
inline void gemm(Transpose transpose_a, Transpose transpose_b, std::int64_t m, std::int64_t n, std::int64_t k,
                 double alpha, Strided<const float> a, Strided<const float> b, double beta, Strided<float> c) {
  ProductLog::note(
      {DType::f32, transpose_a, transpose_b, m, n, k, a.stride, b.stride, c.stride, omp_in_parallel() != 0});
  const auto letter = [](Transpose transpose) { return transpose == Transpose::yes ? 'T' : 'N'; };
  const dnnl_status_t status =
      dnnl_sgemm(letter(transpose_a), letter(transpose_b), m, n, k, static_cast<float>(alpha), a.data, a.stride, b.data,
                 b.stride, static_cast<float>(beta), c.data, c.stride);
  HEADROOM_CHECK(status == dnnl_success, "dnnl_sgemm of m {}, n {}, k {} failed with status {}", m, n, k,
                 static_cast<int>(status));
}

inline void gemm(Transpose transpose_a, Transpose transpose_b, std::int64_t m, std::int64_t n, std::int64_t k,
                 double alpha, Strided<const double> a, Strided<const double> b, double beta, Strided<double> c) {
  ProductLog::note(
      {DType::f64, transpose_a, transpose_b, m, n, k, a.stride, b.stride, c.stride, omp_in_parallel() != 0});
  const auto flag = [](Transpose transpose) { return transpose == Transpose::yes ? CblasTrans : CblasNoTrans; };
  const auto extent = [](std::int64_t value) { return static_cast<blasint>(value); };
  cblas_dgemm(CblasRowMajor, flag(transpose_a), flag(transpose_b), extent(m), extent(n), extent(k), alpha, a.data,
              extent(a.stride), b.data, extent(b.stride), beta, c.data, extent(c.stride));
}

}  // namespace headroom::cpu
