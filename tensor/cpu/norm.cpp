// RMS norm and layer norm. A row stays in the first-level cache between its sums and its result, so that memory is
// read once; the backward makes a row's dx and its share of the parameters' gradients in the same visit.
#include <cmath>

#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/parallel_for.h"
#include "tensor/cpu/row_blocks.h"
#include "tensor/cpu/table.h"

namespace headroom::cpu {
namespace {

template <class T>
T mean_of_squares(const T* x, T center, std::int64_t columns) {
  T squares{0};
#pragma omp simd reduction(+ : squares)
  for (std::int64_t i = 0; i < columns; ++i) squares += (x[i] - center) * (x[i] - center);
  return squares / static_cast<T>(columns);
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
        const T* in = from + row * columns;
        T* out = to + row * columns;
        const T scale = T{1} / std::sqrt(mean_of_squares(in, T{0}, columns) + static_cast<T>(eps));
        inverse[row] = scale;
#pragma omp simd
        for (std::int64_t i = 0; i < columns; ++i) out[i] = in[i] * scale * weight[i];
      }
    });
  });
}

// With n = x rstd and g = dy gamma: dx += rstd (g - n mean(g n)), dgamma += sum_r dy n.
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
        const T* in = xs + row * columns;
        const T* grad = dys + row * columns;
        T* out = dxs + row * columns;
        const T scale = inverse[row];
        T product{0};
#pragma omp simd reduction(+ : product)
        for (std::int64_t i = 0; i < columns; ++i) product += grad[i] * weight[i] * in[i];
        const T along = product * scale * scale * scale / static_cast<T>(columns);
#pragma omp simd
        for (std::int64_t i = 0; i < columns; ++i) {
          const T scaled = grad[i] * scale;
          out[i] += scaled * weight[i] - in[i] * along;
          weight_sums[i] += scaled * in[i];
        }
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
        const T* in = from + row * columns;
        T* out = to + row * columns;
        T sum{0};
#pragma omp simd reduction(+ : sum)
        for (std::int64_t i = 0; i < columns; ++i) sum += in[i];
        const T center = sum / static_cast<T>(columns);
        const T scale = T{1} / std::sqrt(mean_of_squares(in, center, columns) + static_cast<T>(eps));
        centers[row] = center;
        inverse[row] = scale;
        if (bias != nullptr) {
#pragma omp simd
          for (std::int64_t i = 0; i < columns; ++i) out[i] = (in[i] - center) * scale * weight[i] + bias[i];
        } else {
#pragma omp simd
          for (std::int64_t i = 0; i < columns; ++i) out[i] = (in[i] - center) * scale * weight[i];
        }
      }
    });
  });
}

// With n = (x - mean) rstd and g = dy gamma: dx += rstd (g - mean(g) - n mean(g n)), dgamma += sum_r dy n,
// dbeta += sum_r dy.
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
      T* bias_sums = weight_sums + columns;
      for (std::int64_t row = begin; row < end; ++row) {
        const T* in = xs + row * columns;
        const T* grad = dys + row * columns;
        T* out = dxs + row * columns;
        const T center = centers[row];
        const T scale = inverse[row];
        T product{0};
        T sum{0};
#pragma omp simd reduction(+ : product, sum)
        for (std::int64_t i = 0; i < columns; ++i) {
          const T weighted = grad[i] * weight[i];
          sum += weighted;
          product += weighted * (in[i] - center);
        }
        const T along = product * scale * scale / static_cast<T>(columns);  // mean(g n) rstd
        const T level = sum / static_cast<T>(columns);
#pragma omp simd
        for (std::int64_t i = 0; i < columns; ++i) {
          const T offset = in[i] - center;
          out[i] += scale * (grad[i] * weight[i] - level - offset * along);
          weight_sums[i] += grad[i] * (offset * scale);
          bias_sums[i] += grad[i];
        }
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
