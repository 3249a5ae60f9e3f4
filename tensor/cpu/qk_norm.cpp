// RMS norm of every query and key head inside the fused tensor (as in OLMo-2, but a head at a time).
#include <cstring>

#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/parallel_for.h"
#include "tensor/cpu/row_blocks.h"
#include "tensor/cpu/row_math.h"
#include "tensor/cpu/table.h"

namespace headroom::cpu {
namespace {

// Heads are functions of their own, kept out of line (see row_math.h).

// With n = x rstd and g = dy gamma: dx = rstd (g - n mean(g n)), dgamma += dy n.
template <class T>
[[gnu::noinline]] void norm_head_backward(const T* dy, const T* x, const T* gamma, T rstd, std::int64_t head_dim, T* dx,
                                          T* dgamma) {
  T product{0};
#pragma omp simd reduction(+ : product)
  for (std::int64_t i = 0; i < head_dim; ++i) product += dy[i] * gamma[i] * x[i];
  const T along = product * rstd * rstd * rstd / static_cast<T>(head_dim);
#pragma omp simd
  for (std::int64_t i = 0; i < head_dim; ++i) {
    const T scaled = dy[i] * rstd;
    dgamma[i] += scaled * x[i];
    dx[i] = scaled * gamma[i] - x[i] * along;
  }
}

void qk_norm(const Tensor& qkv, const AttentionShape& shape, const Tensor& gamma_q, const Tensor& gamma_k, double eps,
             Tensor out, Tensor rstd) {
  const std::int64_t width = shape.qkv_width();
  const std::int64_t normed = shape.n_heads + shape.n_kv_heads;
  const std::int64_t head_dim = shape.head_dim;
  check_same_dtype("qk_norm", qkv, gamma_q, gamma_k, out, rstd);
  check_elements("qk_norm", "qkv", qkv, shape.rows() * width);
  check_elements("qk_norm", "gamma_q", gamma_q, head_dim);
  check_elements("qk_norm", "gamma_k", gamma_k, head_dim);
  check_elements("qk_norm", "out", out, qkv.elements());
  check_elements("qk_norm", "rstd", rstd, shape.rows() * normed);
  dispatch(qkv.dtype(), [&]<class T>() {
    const T* from = qkv.data<T>();
    const T* query_weight = gamma_q.data<T>();
    const T* key_weight = gamma_k.data<T>();
    T* to = out.data<T>();
    T* inverse = rstd.data<T>();
    parallel_for(shape.rows(), rows_grain(width), [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        for (std::int64_t head = 0; head < normed; ++head) {
          const T* weight = head < shape.n_heads ? query_weight : key_weight;
          const std::int64_t at = row * width + head * head_dim;
          inverse[row * normed + head] = rms_norm_row(from + at, weight, static_cast<T>(eps), head_dim, to + at);
        }
        const std::int64_t values = row * width + normed * head_dim;
        std::memcpy(to + values, from + values, static_cast<std::size_t>(shape.kv_width()) * sizeof(T));
      }
    });
  });
}

void qk_norm_backward(const Tensor& dout, const Tensor& qkv, const AttentionShape& shape, const Tensor& gamma_q,
                      const Tensor& gamma_k, const Tensor& rstd, Tensor dqkv, Tensor dgamma_q, Tensor dgamma_k) {
  const std::int64_t width = shape.qkv_width();
  const std::int64_t normed = shape.n_heads + shape.n_kv_heads;
  const std::int64_t head_dim = shape.head_dim;
  check_same_dtype("qk_norm_backward", qkv, dout, gamma_q, gamma_k, rstd, dqkv, dgamma_q, dgamma_k);
  check_elements("qk_norm_backward", "qkv", qkv, shape.rows() * width);
  check_elements("qk_norm_backward", "dout", dout, qkv.elements());
  check_elements("qk_norm_backward", "gamma_q", gamma_q, head_dim);
  check_elements("qk_norm_backward", "gamma_k", gamma_k, head_dim);
  check_elements("qk_norm_backward", "rstd", rstd, shape.rows() * normed);
  check_elements("qk_norm_backward", "dqkv", dqkv, qkv.elements());
  check_elements("qk_norm_backward", "dgamma_q", dgamma_q, head_dim);
  check_elements("qk_norm_backward", "dgamma_k", dgamma_k, head_dim);
  dispatch(qkv.dtype(), [&]<class T>() {
    const T* xs = qkv.data<T>();
    const T* douts = dout.data<T>();
    const T* query_weight = gamma_q.data<T>();
    const T* key_weight = gamma_k.data<T>();
    const T* inverse = rstd.data<T>();
    T* dxs = dqkv.data<T>();
    const auto work = [=](std::int64_t begin, std::int64_t end, T* query_sums) {
      T* key_sums = query_sums + head_dim;
      for (std::int64_t row = begin; row < end; ++row) {
        for (std::int64_t head = 0; head < normed; ++head) {
          const bool query = head < shape.n_heads;
          const T* weight = query ? query_weight : key_weight;
          T* weight_sums = query ? query_sums : key_sums;
          const std::int64_t at = row * width + head * head_dim;
          norm_head_backward(douts + at, xs + at, weight, inverse[row * normed + head], head_dim, dxs + at,
                             weight_sums);
        }
        const std::int64_t values = row * width + normed * head_dim;
        std::memcpy(dxs + values, douts + values, static_cast<std::size_t>(shape.kv_width()) * sizeof(T));
      }
    };
    const T* sums = sum_over_row_blocks<T>(shape.rows(), width, 2 * head_dim, work);
    add_sums(sums, head_dim, dgamma_q);
    add_sums(sums + head_dim, head_dim, dgamma_k);
  });
}

}  // namespace

void fill_qk_norm(OpTable& table) {
  table.qk_norm = qk_norm;
  table.qk_norm_backward = qk_norm_backward;
}

}  // namespace headroom::cpu
