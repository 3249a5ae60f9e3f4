// Matrix products and the plain streaming operations on whole tensors.
#include <algorithm>
#include <cstring>

#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/gemm.h"
#include "tensor/cpu/parallel_for.h"
#include "tensor/cpu/scratch.h"
#include "tensor/cpu/table.h"

namespace headroom::cpu {
namespace {

void zero(Tensor y) {
  auto* bytes = static_cast<std::byte*>(y.raw());
  const auto width = static_cast<std::int64_t>(size_of(y.dtype()));
  parallel_for(y.elements(), kElementGrain, [&](std::int64_t begin, std::int64_t end) {
    std::memset(bytes + begin * width, 0, static_cast<std::size_t>((end - begin) * width));
  });
}

void copy(const Tensor& x, Tensor y) {
  check_same_dtype("copy", x, y);
  check_elements("copy", "y", y, x.elements());
  const auto* from = static_cast<const std::byte*>(x.raw());
  auto* to = static_cast<std::byte*>(y.raw());
  const auto width = static_cast<std::int64_t>(size_of(x.dtype()));
  parallel_for(x.elements(), kElementGrain, [&](std::int64_t begin, std::int64_t end) {
    std::memcpy(to + begin * width, from + begin * width, static_cast<std::size_t>((end - begin) * width));
  });
}

void add(const Tensor& x, Tensor y) {
  check_same_dtype("add", x, y);
  check_elements("add", "y", y, x.elements());
  dispatch(x.dtype(), [&]<class T>() {
    const T* from = x.data<T>();
    T* to = y.data<T>();
    parallel_for(x.elements(), kElementGrain, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) to[i] += from[i];
    });
  });
}

// x *= factor
void scale(double factor, Tensor x) {
  dispatch(x.dtype(), [&]<class T>() {
    T* values = x.data<T>();
    const T by = static_cast<T>(factor);
    parallel_for(x.elements(), kElementGrain, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) values[i] *= by;
    });
  });
}

void matmul(const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b, Tensor c, double alpha,
            double beta) {
  check_same_dtype("matmul", a, b, c);
  const std::int64_t m = transpose_a == Transpose::yes ? a.columns() : a.rows();
  const std::int64_t k = transpose_a == Transpose::yes ? a.rows() : a.columns();
  const std::int64_t k_of_b = transpose_b == Transpose::yes ? b.columns() : b.rows();
  const std::int64_t n = transpose_b == Transpose::yes ? b.rows() : b.columns();
  HEADROOM_CHECK(k == k_of_b && c.rows() == m && c.columns() == n, "matmul: a {}{}, b {}{}, c {} do not fit",
                 a.shape().text(), transpose_a == Transpose::yes ? " transposed" : "", b.shape().text(),
                 transpose_b == Transpose::yes ? " transposed" : "", c.shape().text());
  if (m == 0 || n == 0) return;
  if (k == 0) {
    beta == 0.0 ? zero(c) : scale(beta, c);
    return;
  }
  dispatch(a.dtype(), [&]<class T>() {
    gemm(transpose_a, transpose_b, m, n, k, alpha, Strided<const T>{a.data<T>(), a.columns()},
         Strided<const T>{b.data<T>(), b.columns()}, beta, Strided<T>{c.data<T>(), n});
  });
}

void add_bias(const Tensor& bias, Tensor x) {
  check_same_dtype("add_bias", bias, x);
  check_elements("add_bias", "bias", bias, x.columns());
  dispatch(x.dtype(), [&]<class T>() {
    const std::int64_t columns = x.columns();
    const T* addend = bias.data<T>();
    T* values = x.data<T>();
    parallel_for(x.rows(), rows_grain(columns), [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        T* line = values + row * columns;
#pragma omp simd
        for (std::int64_t column = 0; column < columns; ++column) line[column] += addend[column];
      }
    });
  });
}

void linear(const Tensor& x, const Tensor& w, const Tensor& bias, Tensor y) {
  matmul(x, Transpose::no, w, Transpose::yes, y, 1.0, 0.0);
  if (bias.present()) add_bias(bias, y);
}

void bias_backward(const Tensor& dy, Tensor dbias) {
  check_same_dtype("bias_backward", dy, dbias);
  check_elements("bias_backward", "dbias", dbias, dy.columns());
  // Rows are summed in blocks, so that the rounding error grows with the blocks and not with all the rows.
  constexpr std::int64_t kBlock = 128;
  dispatch(dy.dtype(), [&]<class T>() {
    const std::int64_t rows = dy.rows();
    const std::int64_t columns = dy.columns();
    const T* from = dy.data<T>();
    T* to = dbias.data<T>();
    const std::int64_t grain = std::max<std::int64_t>(16, rows_grain(rows));
    parallel_for(columns, grain, [=](std::int64_t begin, std::int64_t end) {
      const std::int64_t width = end - begin;
      T* sums = thread_scratch<T>(static_cast<std::size_t>(width));
      for (std::int64_t block = 0; block < rows; block += kBlock) {
        std::fill(sums, sums + width, T{0});
        for (std::int64_t row = block; row < std::min(block + kBlock, rows); ++row) {
          const T* line = from + row * columns + begin;
#pragma omp simd
          for (std::int64_t i = 0; i < width; ++i) sums[i] += line[i];
        }
#pragma omp simd
        for (std::int64_t i = 0; i < width; ++i) to[begin + i] += sums[i];
      }
    });
  });
}

}  // namespace

void fill_dense(OpTable& table) {
  table.matmul = matmul;
  table.linear = linear;
  table.add_bias = add_bias;
  table.bias_backward = bias_backward;
  table.add = add;
  table.copy = copy;
  table.zero = zero;
}

}  // namespace headroom::cpu
