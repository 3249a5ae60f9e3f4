// Dynamic tanh, the element-wise stand-in for a norm (arXiv 2503.10622). tanh is made anew in the backward: computing
// it costs less than keeping it.
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/parallel_for.h"
#include "tensor/cpu/row_blocks.h"
#include "tensor/cpu/table.h"
#include "tensor/cpu/vector_math.h"

namespace headroom::cpu {
namespace {

// Rows are functions of their own, kept out of line, so that the compiler vectorises them (as in norm.cpp).

// beta may be null.
template <class T>
[[gnu::noinline]] void dyt_row(const T* x, T alpha, const T* gamma, const T* beta, std::int64_t columns, T* y) {
  if (beta != nullptr) {
#pragma omp simd
    for (std::int64_t i = 0; i < columns; ++i) y[i] = gamma[i] * fast_tanh(alpha * x[i]) + beta[i];
  } else {
#pragma omp simd
    for (std::int64_t i = 0; i < columns; ++i) y[i] = gamma[i] * fast_tanh(alpha * x[i]);
  }
}

// With t = tanh(alpha x) and u = dy gamma (1 - t^2): dx += alpha u, dgamma += dy t, dbeta += dy, and a column's share
// of dalpha += u x.
template <class T>
[[gnu::noinline]] void dyt_backward_row(const T* dy, const T* x, T alpha, const T* gamma, std::int64_t columns, T* dx,
                                        T* dgamma, T* dbeta, T* dalpha) {
#pragma omp simd
  for (std::int64_t i = 0; i < columns; ++i) {
    const T t = fast_tanh(alpha * x[i]);
    const T inner = dy[i] * gamma[i] * ((T{1} - t) * (T{1} + t));
    dx[i] += alpha * inner;
    dgamma[i] += dy[i] * t;
    dbeta[i] += dy[i];
    dalpha[i] += inner * x[i];
  }
}

void dyt(const Tensor& x, const Tensor& alpha, const Tensor& gamma, const Tensor& beta, Tensor y) {
  check_same_dtype("dyt", x, alpha, gamma, beta, y);
  check_elements("dyt", "alpha", alpha, 1);
  check_elements("dyt", "gamma", gamma, x.columns());
  if (beta.present()) check_elements("dyt", "beta", beta, x.columns());
  check_elements("dyt", "y", y, x.elements());
  dispatch(x.dtype(), [&]<class T>() {
    const std::int64_t columns = x.columns();
    const T* from = x.data<T>();
    const T slope = *alpha.data<T>();
    const T* weight = gamma.data<T>();
    const T* bias = beta.present() ? beta.data<T>() : nullptr;
    T* to = y.data<T>();
    parallel_for(x.rows(), rows_grain(columns), [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        dyt_row(from + row * columns, slope, weight, bias, columns, to + row * columns);
      }
    });
  });
}

void dyt_backward(const Tensor& dy, const Tensor& x, const Tensor& alpha, const Tensor& gamma, Tensor dx, Tensor dalpha,
                  Tensor dgamma, Tensor dbeta) {
  check_same_dtype("dyt_backward", x, dy, alpha, gamma, dx, dalpha, dgamma, dbeta);
  check_elements("dyt_backward", "dy", dy, x.elements());
  check_elements("dyt_backward", "alpha", alpha, 1);
  check_elements("dyt_backward", "gamma", gamma, x.columns());
  check_elements("dyt_backward", "dx", dx, x.elements());
  check_elements("dyt_backward", "dalpha", dalpha, 1);
  check_elements("dyt_backward", "dgamma", dgamma, x.columns());
  if (dbeta.present()) check_elements("dyt_backward", "dbeta", dbeta, x.columns());
  dispatch(x.dtype(), [&]<class T>() {
    const std::int64_t columns = x.columns();
    const T* xs = x.data<T>();
    const T* dys = dy.data<T>();
    const T slope = *alpha.data<T>();
    const T* weight = gamma.data<T>();
    T* dxs = dx.data<T>();
    const auto work = [=](std::int64_t begin, std::int64_t end, T* weight_sums) {
      for (std::int64_t row = begin; row < end; ++row) {
        dyt_backward_row(dys + row * columns, xs + row * columns, slope, weight, columns, dxs + row * columns,
                         weight_sums, weight_sums + columns, weight_sums + 2 * columns);
      }
    };
    const T* sums = sum_over_row_blocks<T>(x.rows(), columns, 3 * columns, work);
    add_sums(sums, columns, dgamma);
    add_sums(sums + columns, columns, dbeta);
    double slope_sum = 0.0;
    for (std::int64_t i = 0; i < columns; ++i) slope_sum += static_cast<double>(sums[2 * columns + i]);
    *dalpha.data<T>() += static_cast<T>(slope_sum);
  });
}

}  // namespace

void fill_dyt(OpTable& table) {
  table.dyt = dyt;
  table.dyt_backward = dyt_backward;
}

}  // namespace headroom::cpu
