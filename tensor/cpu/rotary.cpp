// Rotary position embedding of the queries and keys inside a fused tensor; values are left alone.
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/parallel_for.h"
#include "tensor/cpu/table.h"

namespace headroom::cpu {
namespace {

void rotary(const Tensor& cos, const Tensor& sin, const AttentionShape& shape, bool inverse, Tensor qkv) {
  check_same_dtype("rotary", cos, sin, qkv);
  check_elements("rotary", "qkv", qkv, shape.rows() * shape.qkv_width());
  const std::int64_t half = cos.columns();
  HEADROOM_CHECK(
      2 * half <= shape.head_dim && sin.columns() == half && cos.rows() >= shape.seq && sin.rows() >= shape.seq,
      "rotary: tables {} and {} for {} positions of heads of {}", cos.shape().text(), sin.shape().text(), shape.seq,
      shape.head_dim);
  dispatch(qkv.dtype(), [&]<class T>() {
    const T* cosines = cos.data<T>();
    const T* sines = sin.data<T>();
    T* data = qkv.data<T>();
    const T direction = inverse ? T{-1} : T{1};
    const std::int64_t rotated = shape.n_heads + shape.n_kv_heads;
    parallel_for(shape.rows(), rows_grain(shape.qkv_width()), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const T* c = cosines + row % shape.seq * half;
        const T* s = sines + row % shape.seq * half;
        for (std::int64_t head = 0; head < rotated; ++head) {
          T* first = data + row * shape.qkv_width() + head * shape.head_dim;
          T* second = first + half;
#pragma omp simd
          for (std::int64_t i = 0; i < half; ++i) {
            const T x1 = first[i];
            const T x2 = second[i];
            const T sine = direction * s[i];
            first[i] = x1 * c[i] - x2 * sine;
            second[i] = x2 * c[i] + x1 * sine;
          }
        }
      }
    });
  });
}

}  // namespace

void fill_rotary(OpTable& table) {
  table.rotary = rotary;
}

}  // namespace headroom::cpu
