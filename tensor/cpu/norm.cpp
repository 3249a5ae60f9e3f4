// RMS norm and layer norm. A row stays in the first-level cache between its sums and its result, so that memory is
// read once; the backward makes a row's dx and its share of the parameters' gradients in the same visit.
#include <cmath>

#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/parallel_for.h"
#include "tensor/cpu/row_blocks.h"
#include "tensor/cpu/row_math.h"
#include "tensor/cpu/table.h"

namespace headroom::cpu {
namespace {

// Rows are functions of their own, kept out of line (see row_math.h).

// With n = x rstd and g = dy gamma: dx += rstd (g - n mean(g n)), dgamma += dy n.
template <class T>
[[gnu::noinline]] void rms_norm_backward_row(const T* dy, const T* x, const T* gamma, T rstd, std::int64_t columns,
                                             T* dx, T* dgamma) {
  T product{0};
#pragma omp simd reduction(+ : product)
  for (std::int64_t i = 0; i < columns; ++i) product += dy[i] * gamma[i] * x[i];
  const T along = product * rstd * rstd * rstd / static_cast<T>(columns);
#pragma omp simd
  for (std::int64_t i = 0; i < columns; ++i) {
    const T scaled = dy[i] * rstd;
    dx[i] += scaled * gamma[i] - x[i] * along;
    dgamma[i] += scaled * x[i];
  }
}

// beta may be null.
template <class T>
[[gnu::noinline]] void layer_norm_row(const T* x, const T* gamma, const T* beta, T eps, std::int64_t columns, T* y,
                                      T* mean, T* rstd) {
  T sum{0};
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < columns; ++i) sum += x[i];
  const T center = sum / static_cast<T>(columns);
  const T scale = T{1} / std::sqrt(mean_of_squares(x, center, columns) + eps);
  *mean = center;
  *rstd = scale;
  if (beta != nullptr) {
#pragma omp simd
    for (std::int64_t i = 0; i < columns; ++i) y[i] = (x[i] - center) * scale * gamma[i] + beta[i];
  } else {
#pragma omp simd
    for (std::int64_t i = 0; i < columns; ++i) y[i] = (x[i] - center) * scale * gamma[i];
  }
}

// With n = (x - mean) rstd and g = dy gamma: dx += rstd (g - mean(g) - n mean(g n)), dgamma += dy n, dbeta += dy.
template <class T>
[[gnu::noinline]] void layer_norm_backward_row(const T* dy, const T* x, const T* gamma, T mean, T rstd,
                                               std::int64_t columns, T* dx, T* dgamma, T* dbeta) {
  T product{0};
  T sum{0};
#pragma omp simd reduction(+ : product, sum)
  for (std::int64_t i = 0; i < columns; ++i) {
    const T weighted = dy[i] * gamma[i];
    sum += weighted;
    product += weighted * (x[i] - mean);
  }
  const T along = product * rstd * rstd / static_cast<T>(columns);  // mean(g n) rstd
  const T level = sum / static_cast<T>(columns);
#pragma omp simd
  for (std::int64_t i = 0; i < columns; ++i) {
    const T offset = x[i] - mean;
    dx[i] += rstd * (dy[i] * gamma[i] - level - offset * along);
    dgamma[i] += dy[i] * (offset * rstd);
    dbeta[i] += dy[i];
  }
}

void rms_norm(const Tensor& x, const Tensor& gamma, double eps, Tensor y, Tensor rstd) {
  check_same_dtype("rms_norm", x, gamma, y, rstd);
  check_elements("rms_norm", "gamma", gamma, x.columns());
  check_elements("rms_norm", "y", y, x.elements());
  check_elements("rms_norm", "rstd", rstd, x.rows());
  dispatch(x.dtype(), [&]<class T>() {
    const std::int64_t columns = x.columns();
    const T* from = x.data<T>();
    const T* weight = gamma.data<T>();
    T* to = y.data<T>();
    T* inverse = rstd.data<T>();
    parallel_for(x.rows(), rows_grain(columns), [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        inverse[row] = rms_norm_row(from + row * columns, weight, static_cast<T>(eps), columns, to + row * columns);
      }
    });
  });
}

void rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& gamma, const Tensor& rstd, Tensor dx,
                       Tensor dgamma) {
  check_same_dtype("rms_norm_backward", x, dy, gamma, rstd, dx, dgamma);
  check_elements("rms_norm_backward", "dy", dy, x.elements());
  check_elements("rms_norm_backward", "gamma", gamma, x.columns());
  check_elements("rms_norm_backward", "rstd", rstd, x.rows());
  check_elements("rms_norm_backward", "dx", dx, x.elements());
  check_elements("rms_norm_backward", "dgamma", dgamma, x.columns());
  dispatch(x.dtype(), [&]<class T>() {
    const std::int64_t columns = x.columns();
    const T* xs = x.data<T>();
    const T* dys = dy.data<T>();
    const T* weight = gamma.data<T>();
    const T* inverse = rstd.data<T>();
    T* dxs = dx.data<T>();
    const auto work = [=](std::int64_t begin, std::int64_t end, T* weight_sums) {
      for (std::int64_t row = begin; row < end; ++row) {
        rms_norm_backward_row(dys + row * columns, xs + row * columns, weight, inverse[row], columns,
                              dxs + row * columns, weight_sums);
      }
    };
    add_sums(sum_over_row_blocks<T>(x.rows(), columns, columns, work), columns, dgamma);
  });
}

void layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps, Tensor y, Tensor mean,
                Tensor rstd) {
  check_same_dtype("layer_norm", x, gamma, beta, y, mean, rstd);
  check_elements("layer_norm", "gamma", gamma, x.columns());
  if (beta.present()) check_elements("layer_norm", "beta", beta, x.columns());
  check_elements("layer_norm", "y", y, x.elements());
  check_elements("layer_norm", "mean", mean, x.rows());
  check_elements("layer_norm", "rstd", rstd, x.rows());
  dispatch(x.dtype(), [&]<class T>() {
    const std::int64_t columns = x.columns();
    const T* from = x.data<T>();
    const T* weight = gamma.data<T>();
    const T* bias = beta.present() ? beta.data<T>() : nullptr;
    T* to = y.data<T>();
    T* centers = mean.data<T>();
    T* inverse = rstd.data<T>();
    parallel_for(x.rows(), rows_grain(columns), [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        layer_norm_row(from + row * columns, weight, bias, static_cast<T>(eps), columns, to + row * columns,
                       centers + row, inverse + row);
      }
    });
  });
}

void layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& gamma, const Tensor& mean, const Tensor& rstd,
                         Tensor dx, Tensor dgamma, Tensor dbeta) {
  check_same_dtype("layer_norm_backward", x, dy, gamma, mean, rstd, dx, dgamma, dbeta);
  check_elements("layer_norm_backward", "dy", dy, x.elements());
  check_elements("layer_norm_backward", "gamma", gamma, x.columns());
  check_elements("layer_norm_backward", "mean", mean, x.rows());
  check_elements("layer_norm_backward", "rstd", rstd, x.rows());
  check_elements("layer_norm_backward", "dx", dx, x.elements());
  check_elements("layer_norm_backward", "dgamma", dgamma, x.columns());
  if (dbeta.present()) check_elements("layer_norm_backward", "dbeta", dbeta, x.columns());
  dispatch(x.dtype(), [&]<class T>() {
    const std::int64_t columns = x.columns();
    const T* xs = x.data<T>();
    const T* dys = dy.data<T>();
    const T* weight = gamma.data<T>();
    const T* centers = mean.data<T>();
    const T* inverse = rstd.data<T>();
    T* dxs = dx.data<T>();
    const auto work = [=](std::int64_t begin, std::int64_t end, T* weight_sums) {
      for (std::int64_t row = begin; row < end; ++row) {
        layer_norm_backward_row(dys + row * columns, xs + row * columns, weight, centers[row], inverse[row], columns,
                                dxs + row * columns, weight_sums, weight_sums + columns);
      }
    };
    const T* sums = sum_over_row_blocks<T>(x.rows(), columns, 2 * columns, work);
    add_sums(sums, columns, dgamma);
    add_sums(sums + columns, columns, dbeta);
  });
}

}  // namespace

void fill_norm(OpTable& table) {
  table.rms_norm = rms_norm;
  table.rms_norm_backward = rms_norm_backward;
  table.layer_norm = layer_norm;
  table.layer_norm_backward = layer_norm_backward;
}

}  // namespace headroom::cpu
