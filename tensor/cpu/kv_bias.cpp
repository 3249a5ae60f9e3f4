// The key-value bias: one learned slot more for every query, added to what plain causal attention left (out and its
// log-sum-exp), so that it needs no mask and no longer tensors. The formulas stand in tensor/ops.h.
#include <algorithm>
#include <cmath>
#include <vector>

#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/parallel_for.h"
#include "tensor/cpu/table.h"

namespace headroom::cpu {
namespace {

void check_kv_bias(std::string_view op, const Tensor& qkv, const Tensor& out, const Tensor& mass, const Tensor& key,
                   const Tensor& value, const AttentionShape& shape) {
  HEADROOM_CHECK(shape.n_kv_heads > 0 && shape.n_heads % shape.n_kv_heads == 0,
                 "{}: {} query heads do not divide into {} key-value heads", op, shape.n_heads, shape.n_kv_heads);
  check_same_dtype(op, qkv, out, mass, key, value);
  check_elements(op, "qkv", qkv, shape.rows() * shape.qkv_width());
  check_elements(op, "out", out, shape.rows() * shape.query_width());
  check_elements(op, "mass", mass, shape.batch * shape.n_heads * shape.seq);
  check_elements(op, "key", key, shape.kv_width());
  if (value.present()) check_elements(op, "value", value, shape.kv_width());
}

template <class T>
T dot(const T* a, const T* b, std::int64_t count) {
  T sum{0};
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

// y += factor * x
template <class T>
void add_scaled(T factor, const T* x, T* y, std::int64_t count) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) y[i] += factor * x[i];
}

// Of a row (token) and head into the [batch, n_heads, seq] tensors.
std::int64_t head_index(const AttentionShape& shape, std::int64_t row, std::int64_t head) {
  return (row / shape.seq * shape.n_heads + head) * shape.seq + row % shape.seq;
}

void kv_bias(const Tensor& qkv, const Tensor& key, const Tensor& value, const AttentionShape& shape, Tensor out,
             Tensor lse, Tensor mass) {
  check_kv_bias("kv_bias", qkv, out, mass, key, value, shape);
  check_same_dtype("kv_bias", qkv, lse);
  check_elements("kv_bias", "lse", lse, mass.elements());
  dispatch(qkv.dtype(), [&]<class T>() {
    const std::int64_t dim = shape.head_dim;
    const std::int64_t group = shape.n_heads / shape.n_kv_heads;
    const T scale = static_cast<T>(1.0 / std::sqrt(static_cast<double>(dim)));
    const T* queries = qkv.data<T>();
    const T* keys = key.data<T>();
    const T* values = value.present() ? value.data<T>() : nullptr;
    T* outputs = out.data<T>();
    T* log_sums = lse.data<T>();
    T* masses = mass.data<T>();
    parallel_for(shape.rows(), rows_grain(shape.query_width()), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        for (std::int64_t head = 0; head < shape.n_heads; ++head) {
          const std::int64_t at = head_index(shape, row, head);
          const std::int64_t slot = head / group * dim;
          const T score = scale * dot(queries + row * shape.qkv_width() + head * dim, keys + slot, dim);
          const T old = log_sums[at];
          const T joined = std::max(old, score) + std::log1p(std::exp(-std::abs(old - score)));
          const T share = std::exp(score - joined);
          // e^(L - L') rather than 1 - mass: exact where the slot takes nearly everything.
          const T rest = std::exp(old - joined);
          log_sums[at] = joined;
          masses[at] = share;
          T* line = outputs + row * shape.query_width() + head * dim;
          if (values == nullptr) {
#pragma omp simd
            for (std::int64_t i = 0; i < dim; ++i) line[i] *= rest;
          } else {
            const T* bias = values + slot;
#pragma omp simd
            for (std::int64_t i = 0; i < dim; ++i) line[i] = rest * line[i] + share * bias[i];
          }
        }
      }
    });
  });
}

void kv_bias_backward(const Tensor& dout, const Tensor& qkv, const Tensor& out, const Tensor& mass, const Tensor& key,
                      const Tensor& value, const AttentionShape& shape, Tensor dqkv, Tensor dkey, Tensor dvalue) {
  check_kv_bias("kv_bias_backward", qkv, out, mass, key, value, shape);
  check_same_dtype("kv_bias_backward", qkv, dout, dqkv, dkey, dvalue);
  check_elements("kv_bias_backward", "dout", dout, out.elements());
  check_elements("kv_bias_backward", "dqkv", dqkv, qkv.elements());
  check_elements("kv_bias_backward", "dkey", dkey, shape.kv_width());
  HEADROOM_CHECK(value.present() == dvalue.present(), "kv_bias_backward: only one of value and dvalue is given");
  if (dvalue.present()) check_elements("kv_bias_backward", "dvalue", dvalue, shape.kv_width());
  dispatch(qkv.dtype(), [&]<class T>() {
    const std::int64_t dim = shape.head_dim;
    const std::int64_t width = shape.kv_width();
    const std::int64_t group = shape.n_heads / shape.n_kv_heads;
    const T scale = static_cast<T>(1.0 / std::sqrt(static_cast<double>(dim)));
    const T* keys = key.data<T>();
    const T* values = value.present() ? value.data<T>() : nullptr;
    const T* masses = mass.data<T>();
    const std::int64_t grain = rows_grain(shape.query_width());
    // Per part of the rows: the key's gradients, then the value's.
    const int parts = part_count(shape.rows(), grain);
    std::vector<T> partial(static_cast<std::size_t>(2 * width * parts), T{0});
    parallel_parts(shape.rows(), grain, [&](int part, std::int64_t begin, std::int64_t end) {
      T* part_dkey = partial.data() + 2 * width * part;
      T* part_dvalue = part_dkey + width;
      for (std::int64_t row = begin; row < end; ++row) {
        for (std::int64_t head = 0; head < shape.n_heads; ++head) {
          const std::int64_t slot = head / group * dim;
          const std::int64_t in_out = row * shape.query_width() + head * dim;
          const std::int64_t in_qkv = row * shape.qkv_width() + head * dim;
          const T* gradient = dout.data<T>() + in_out;
          const T share = masses[head_index(shape, row, head)];
          const T through_value = values == nullptr ? T{0} : dot(gradient, values + slot, dim);
          const T dscore = scale * share * (through_value - dot(gradient, out.data<T>() + in_out, dim));
          add_scaled(dscore, keys + slot, dqkv.data<T>() + in_qkv, dim);
          add_scaled(dscore, qkv.data<T>() + in_qkv, part_dkey + slot, dim);
          if (values != nullptr) add_scaled(share, gradient, part_dvalue + slot, dim);
        }
      }
    });
    for (int part = 0; part < parts; ++part) {
      const T* part_dkey = partial.data() + 2 * width * part;
      add_scaled(T{1}, part_dkey, dkey.data<T>(), width);
      if (values != nullptr) add_scaled(T{1}, part_dkey + width, dvalue.data<T>(), width);
    }
  });
}

}  // namespace

void fill_kv_bias(OpTable& table) {
  table.kv_bias = kv_bias;
  table.kv_bias_backward = kv_bias_backward;
}

}  // namespace headroom::cpu
