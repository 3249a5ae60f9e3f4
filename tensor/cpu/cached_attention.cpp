#include "tensor/cached_attention.h"

#include <algorithm>
#include <limits>

#include "tensor/cpu/attention_heads.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/parallel_for.h"
#include "tensor/cpu/row_math.h"
#include "tensor/cpu/scratch.h"
#include "tensor/cpu/vector_math.h"

namespace headroom::host {
namespace {

[[gnu::noinline]] void score(const float* query, const float* keys, std::int64_t count, std::int64_t dim, float scale,
                             float* scores) {
  for (std::int64_t key = 0; key < count; ++key) scores[key] = scale * cpu::dot(query, keys + key * dim, dim);
}

[[gnu::noinline]] void cap(float limit, std::int64_t count, float* scores) {
  const float inverse = 1.0F / limit;
#pragma omp simd
  for (std::int64_t key = 0; key < count; ++key) scores[key] = limit * cpu::fast_tanh(scores[key] * inverse);
}

// exp(score - largest), in place; their sum.
[[gnu::noinline]] float exponentials(float largest, std::int64_t count, float* scores) {
  float sum = 0.0F;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t key = 0; key < count; ++key) {
    scores[key] = cpu::fast_exp(scores[key] - largest);
    sum += scores[key];
  }
  return sum;
}

// out += factor * value
[[gnu::noinline]] void add_scaled(float factor, const float* value, std::int64_t dim, float* out) {
#pragma omp simd
  for (std::int64_t i = 0; i < dim; ++i) out[i] += factor * value[i];
}

struct Slot {  // of a KV bias, one head's
  const float* key = nullptr;
  const float* value = nullptr;
};

void attend(const float* query, const float* keys, const float* values, std::int64_t count, const AttentionShape& shape,
            const Slot& slot, float* out) {
  const std::int64_t dim = shape.head_dim;
  const auto scale = static_cast<float>(cpu::score_scale(shape));
  float* scores = cpu::thread_scratch<float>(static_cast<std::size_t>(count));
  score(query, keys, count, dim, scale, scores);
  if (shape.softcap > 0.0) cap(static_cast<float>(shape.softcap), count, scores);
  float largest = *std::max_element(scores, scores + count);
  const float bias =
      slot.key == nullptr ? -std::numeric_limits<float>::infinity() : scale * cpu::dot(query, slot.key, dim);
  largest = std::max(largest, bias);
  float sum = exponentials(largest, count, scores);
  const float bias_exponential = cpu::fast_exp(bias - largest);
  if (slot.key != nullptr) sum += bias_exponential;
  std::fill_n(out, dim, 0.0F);
  for (std::int64_t key = 0; key < count; ++key) add_scaled(scores[key] / sum, values + key * dim, dim, out);
  if (slot.value != nullptr) add_scaled(bias_exponential / sum, slot.value, dim, out);
}

}  // namespace

void cached_attention(const Tensor& qkv, const AttentionShape& shape, const CachedKeys& cache, const Tensor& bias_key,
                      const Tensor& bias_value, Tensor out) {
  cpu::check_heads("cached_attention", shape);
  HEADROOM_CHECK(shape.batch == 1 && cache.before + shape.seq <= cache.capacity, "{} of {} tokens are cached",
                 cache.before + shape.seq, cache.capacity);
  cpu::check_elements("cached_attention", "qkv", qkv, shape.rows() * shape.qkv_width());
  cpu::check_elements("cached_attention", "out", out, shape.rows() * shape.query_width());
  const std::int64_t dim = shape.head_dim;
  const std::int64_t group = shape.n_heads / shape.n_kv_heads;
  const float* rows = qkv.data<float>();
  const float* bias_keys = bias_key.present() ? bias_key.data<float>() : nullptr;
  const float* bias_values = bias_value.present() ? bias_value.data<float>() : nullptr;
  float* outputs = out.data<float>();
  const std::int64_t work = 2 * (cache.before + shape.seq) * dim;
  cpu::parallel_for(shape.seq * shape.n_heads, cpu::rows_grain(work), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t item = begin; item < end; ++item) {
      const std::int64_t row = item / shape.n_heads;
      const std::int64_t head = item % shape.n_heads;
      const std::int64_t kv_head = head / group;
      const std::int64_t last = cache.before + row + 1;
      const std::int64_t first = shape.window > 0 ? std::max<std::int64_t>(0, last - shape.window) : 0;
      const std::int64_t place = (kv_head * cache.capacity + first) * dim;
      const Slot slot{bias_keys == nullptr ? nullptr : bias_keys + kv_head * dim,
                      bias_values == nullptr ? nullptr : bias_values + kv_head * dim};
      attend(rows + row * shape.qkv_width() + head * dim, cache.keys + place, cache.values + place, last - first, shape,
             slot, outputs + row * shape.query_width() + head * dim);
    }
  });
}

}  // namespace headroom::host
