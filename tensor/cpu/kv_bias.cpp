// The key-value bias: one learned slot more for every query, added to what plain causal attention left (out and its
// log-sum-exp), so that it needs no mask and no longer tensors. The formulas stand in tensor/ops.h.
#include <algorithm>
#include <cmath>

#include "tensor/cpu/attention_heads.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/parallel_for.h"
#include "tensor/cpu/row_blocks.h"
#include "tensor/cpu/row_math.h"
#include "tensor/cpu/table.h"

namespace headroom::cpu {
namespace {

void check_kv_bias(std::string_view op, const Tensor& qkv, const Tensor& out, const Tensor& mass, const Tensor& key,
                   const Tensor& value, const AttentionShape& shape) {
  check_heads(op, shape);
  check_same_dtype(op, qkv, out, mass, key, value);
  check_elements(op, "qkv", qkv, shape.rows() * shape.qkv_width());
  check_elements(op, "out", out, shape.rows() * shape.query_width());
  check_elements(op, "mass", mass, shape.batch * shape.n_heads * shape.seq);
  check_elements(op, "key", key, shape.kv_width());
  if (value.present()) check_elements(op, "value", value, shape.kv_width());
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
    const T scale = static_cast<T>(score_scale(shape));
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
    const T scale = static_cast<T>(score_scale(shape));
    const T* keys = key.data<T>();
    const T* values = value.present() ? value.data<T>() : nullptr;
    const T* masses = mass.data<T>();
    const T* douts = dout.data<T>();
    const T* outs = out.data<T>();
    const T* queries = qkv.data<T>();
    T* dqueries = dqkv.data<T>();
    // A block's sums: the key's gradients, then the value's.
    const auto work = [=](std::int64_t begin, std::int64_t end, T* key_sums) {
      T* value_sums = key_sums + width;
      for (std::int64_t row = begin; row < end; ++row) {
        for (std::int64_t head = 0; head < shape.n_heads; ++head) {
          const std::int64_t slot = head / group * dim;
          const std::int64_t in_out = row * shape.query_width() + head * dim;
          const std::int64_t in_qkv = row * shape.qkv_width() + head * dim;
          const T* gradient = douts + in_out;
          const T share = masses[head_index(shape, row, head)];
          const T through_value = values == nullptr ? T{0} : dot(gradient, values + slot, dim);
          const T dscore = scale * share * (through_value - dot(gradient, outs + in_out, dim));
          add_scaled(dscore, keys + slot, dqueries + in_qkv, dim);
          add_scaled(dscore, queries + in_qkv, key_sums + slot, dim);
          if (values != nullptr) add_scaled(share, gradient, value_sums + slot, dim);
        }
      }
    };
    const T* sums =
        sum_over_row_blocks<T>(shape.rows(), shape.query_width(), values == nullptr ? width : 2 * width, work);
    add_sums(sums, width, dkey);
    add_sums(sums + width, width, dvalue);
  });
}

}  // namespace

void fill_kv_bias(OpTable& table) {
  table.kv_bias = kv_bias;
  table.kv_bias_backward = kv_bias_backward;
}

}  // namespace headroom::cpu
