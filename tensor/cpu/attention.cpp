// Causal attention, computed in blocks of queries: a block's scores against the keys up to its end are one matrix
// product into memory that stays in the second-level cache, so the square of scores never exists and its upper
// triangle is never computed. The backward makes the probabilities again from the log-sum-exp
// (Dao et al. 2022, FlashAttention).
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "tensor/cpu/attention_heads.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/gemm.h"
#include "tensor/cpu/parallel_for.h"
#include "tensor/cpu/row_math.h"
#include "tensor/cpu/scratch.h"
#include "tensor/cpu/table.h"
#include "tensor/cpu/vector_math.h"
#include "tensor/round_up.h"

namespace headroom::cpu {
namespace {

// Score rows are padded to whole vectors, so that loops over them have no scalar tail.
constexpr std::int64_t kLanes = 16;

std::int64_t padded(std::int64_t count) {
  return round_up(count, kLanes);
}

constexpr std::int64_t kMostRows = 64;

// Queries a block: as many as amortise a matrix product's start-up, fewer for long sequences, whose score rows would
// leave the cache.
std::int64_t block_rows(std::int64_t seq) {
  constexpr std::int64_t kMostScores = 64 * 1024;
  return std::clamp<std::int64_t>(kMostScores / std::max<std::int64_t>(seq, 1) / 16 * 16, 16, kMostRows);
}

void check_attention(std::string_view op, const Tensor& qkv, const AttentionShape& shape) {
  check_heads(op, shape);
  check_elements(op, "qkv", qkv, shape.rows() * shape.qkv_width());
}

// Where one sequence's heads lie in a tensor laid out like `qkv`, and in one laid out like `out`.
template <class T>
struct Heads {
  T* first;             // of this sequence
  std::int64_t stride;  // between tokens
  AttentionShape shape;

  Strided<T> query(std::int64_t head, std::int64_t token) const {
    return {first + token * stride + head * shape.head_dim, stride};
  }
  Strided<T> key(std::int64_t kv_head, std::int64_t token = 0) const {
    return {first + token * stride + shape.query_width() + kv_head * shape.head_dim, stride};
  }
  Strided<T> value(std::int64_t kv_head, std::int64_t token = 0) const {
    return {first + token * stride + shape.query_width() + shape.kv_width() + kv_head * shape.head_dim, stride};
  }
};

template <class T>
Heads<T> fused_heads(T* data, const AttentionShape& shape, std::int64_t sequence) {
  return {data + sequence * shape.seq * shape.qkv_width(), shape.qkv_width(), shape};
}

template <class T>
Heads<T> output_heads(T* data, const AttentionShape& shape, std::int64_t sequence) {
  return {data + sequence * shape.seq * shape.query_width(), shape.query_width(), shape};
}

// The largest of `count` numbers, a multiple of kLanes. Lane by lane: the compiler does not vectorise a maximum's
// reduction, whose result could depend on the order where there are NaNs.
template <class T>
T padded_max(const T* values, std::int64_t count) {
  T lanes[kLanes];
  std::copy(values, values + kLanes, lanes);
  for (std::int64_t i = kLanes; i < count; i += kLanes) {
#pragma omp simd
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = values[i + lane] > lanes[lane] ? values[i + lane] : lanes[lane];
    }
  }
  return *std::max_element(lanes, lanes + kLanes);
}

// scores = softcap * tanh(scores / softcap)
template <class T>
void cap_scores(T* scores, std::int64_t count, double softcap) {
  const T cap = static_cast<T>(softcap);
  const T inverse = static_cast<T>(1.0 / softcap);
#pragma omp simd
  for (std::int64_t key = 0; key < count; ++key) scores[key] = cap * fast_tanh(scores[key] * inverse);
}

// The first key that a query sees.
std::int64_t first_visible(const AttentionShape& shape, std::int64_t query) {
  return shape.window > 0 ? std::max<std::int64_t>(0, query + 1 - shape.window) : 0;
}

// Turns one row of scaled scores into exp(score - max) in place: the first `visible` count, the rest up to `width`
// become 0. Returns (max, sum).
template <class T>
std::pair<T, T> exponentials(T* scores, std::int64_t visible, std::int64_t width) {
  const std::int64_t whole = padded(visible);
  std::fill(scores + visible, scores + std::max(whole, width), -std::numeric_limits<T>::infinity());
  const T largest = padded_max(scores, whole);
  T sum{0};
#pragma omp simd reduction(+ : sum)
  for (std::int64_t key = 0; key < whole; ++key) {
    const T exponential = fast_exp(scores[key] - largest);
    scores[key] = exponential;
    sum += exponential;
  }
  if (width > whole) std::fill(scores + whole, scores + width, T{0});
  return {largest, sum};
}

template <class T>
void attention_block(const T* qkv, const AttentionShape& shape, std::int64_t sequence, std::int64_t kv_head,
                     std::int64_t first_row, std::int64_t rows, T* out, T* lse) {
  const std::int64_t group = shape.n_heads / shape.n_kv_heads;
  const std::int64_t first_key = first_visible(shape, first_row);
  const std::int64_t keys = first_row + rows - first_key;
  const std::int64_t stride = padded(keys);
  const auto heads = fused_heads(qkv, shape, sequence);
  const auto outputs = output_heads(out, shape, sequence);
  T* scores = thread_scratch<T>(static_cast<std::size_t>(rows * stride));
  T inverse[kMostRows];
  for (std::int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    gemm(Transpose::no, Transpose::yes, rows, keys, shape.head_dim, score_scale(shape), heads.query(head, first_row),
         heads.key(kv_head, first_key), 0.0, Strided<T>{scores, stride});
    T* row_lse = lse + (sequence * shape.n_heads + head) * shape.seq + first_row;
    for (std::int64_t row = 0; row < rows; ++row) {
      T* line = scores + row * stride;
      const std::int64_t visible = first_row + row + 1 - first_key;
      if (shape.softcap > 0.0) cap_scores(line, visible, shape.softcap);
      // What the block's later queries do not see any more.
      std::fill(line, line + (first_visible(shape, first_row + row) - first_key), -std::numeric_limits<T>::infinity());
      const auto [largest, sum] = exponentials(line, visible, keys);
      row_lse[row] = largest + std::log(sum);
      inverse[row] = T{1} / sum;
    }
    const auto output = outputs.query(head, first_row);
    gemm(Transpose::no, Transpose::no, rows, shape.head_dim, keys, 1.0, Strided<const T>{scores, stride},
         heads.value(kv_head, first_key), 0.0, output);
    // Dividing the outputs instead of the probabilities: head_dim numbers a row, not a sequence's worth.
    for (std::int64_t row = 0; row < rows; ++row) {
      T* line = output.data + row * output.stride;
#pragma omp simd
      for (std::int64_t i = 0; i < shape.head_dim; ++i) line[i] *= inverse[row];
    }
  }
}

void attention(const Tensor& qkv, const AttentionShape& shape, Tensor out, Tensor lse) {
  check_same_dtype("attention", qkv, out, lse);
  check_attention("attention", qkv, shape);
  check_elements("attention", "out", out, shape.rows() * shape.query_width());
  check_elements("attention", "lse", lse, shape.batch * shape.n_heads * shape.seq);
  dispatch(qkv.dtype(), [&]<class T>() {
    const T* from = qkv.data<T>();
    T* to = out.data<T>();
    T* log_sums = lse.data<T>();
    const std::int64_t most_rows = block_rows(shape.seq);
    const std::int64_t blocks = (shape.seq + most_rows - 1) / most_rows;
    // A block a work item: enough for any number of threads. Within a sequence the longest come first.
    parallel_items(shape.batch * shape.n_kv_heads * blocks, [&](std::int64_t item) {
      const std::int64_t first_row = (blocks - 1 - item % blocks) * most_rows;
      const std::int64_t pair = item / blocks;
      attention_block(from, shape, pair / shape.n_kv_heads, pair % shape.n_kv_heads, first_row,
                      std::min(most_rows, shape.seq - first_row), to, log_sums);
    });
  });
}

// One row of the backward: scores -> probabilities P in place, dprobs -> dscores P * (dP - D) in place; 0 from
// `visible` up to `width`.
template <class T>
void softmax_backward_row(T* scores, T* dprobs, T lse, T delta, std::int64_t visible, std::int64_t width) {
  const std::int64_t whole = padded(visible);
  const std::int64_t end = std::max(whole, width);
  std::fill(scores + visible, scores + whole, -std::numeric_limits<T>::infinity());
  std::fill(dprobs + visible, dprobs + end, T{0});
  if (width > whole) std::fill(scores + whole, scores + width, T{0});
#pragma omp simd
  for (std::int64_t key = 0; key < whole; ++key) {
    const T probability = fast_exp(scores[key] - lse);
    scores[key] = probability;
    dprobs[key] = probability * (dprobs[key] - delta);
  }
}

// All gradients of one sequence's key-value head and the query heads that share it. Keys' and values' gradients
// accumulate over query blocks and heads; the last block, which sees every key, goes first and overwrites.
template <class T>
void attention_backward_head(const T* dout, const T* qkv, const T* out, const T* lse, const AttentionShape& shape,
                             std::int64_t sequence, std::int64_t kv_head, T* dqkv) {
  const std::int64_t group = shape.n_heads / shape.n_kv_heads;
  const std::int64_t dim = shape.head_dim;
  const double scale = score_scale(shape);
  const std::int64_t most_rows = block_rows(shape.seq);
  const auto heads = fused_heads(qkv, shape, sequence);
  const auto gradients = fused_heads(dqkv, shape, sequence);
  const auto outputs = output_heads(out, shape, sequence);
  const auto doutputs = output_heads(dout, shape, sequence);
  const std::int64_t most_scores = most_rows * padded(shape.seq);
  T* scores = thread_scratch<T>(static_cast<std::size_t>(2 * most_scores));
  T* dprobs = scores + most_scores;
  T deltas[kMostRows];

  double keep = 0.0;
  for (std::int64_t first_row = (shape.seq - 1) / most_rows * most_rows; first_row >= 0; first_row -= most_rows) {
    const std::int64_t rows = std::min(most_rows, shape.seq - first_row);
    const std::int64_t keys = first_row + rows;
    const std::int64_t stride = padded(keys);
    for (std::int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      const auto query = heads.query(head, first_row);
      const auto dout_block = doutputs.query(head, first_row);
      const auto out_block = outputs.query(head, first_row);
      gemm(Transpose::no, Transpose::yes, rows, keys, dim, scale, query, heads.key(kv_head), 0.0,
           Strided<T>{scores, stride});
      gemm(Transpose::no, Transpose::yes, rows, keys, dim, 1.0, dout_block, heads.value(kv_head), 0.0,
           Strided<T>{dprobs, stride});
      const T* row_lse = lse + (sequence * shape.n_heads + head) * shape.seq + first_row;
      for (std::int64_t row = 0; row < rows; ++row) {
        deltas[row] = dot(dout_block.data + row * dout_block.stride, out_block.data + row * out_block.stride, dim);
      }
      for (std::int64_t row = 0; row < rows; ++row) {
        softmax_backward_row(scores + row * stride, dprobs + row * stride, row_lse[row], deltas[row],
                             first_row + row + 1, keys);
      }
      const Strided<const T> probabilities{scores, stride};
      const Strided<const T> dscores{dprobs, stride};
      gemm(Transpose::yes, Transpose::no, keys, dim, rows, 1.0, probabilities, dout_block, keep,
           gradients.value(kv_head));
      gemm(Transpose::yes, Transpose::no, keys, dim, rows, scale, dscores, query, keep, gradients.key(kv_head));
      gemm(Transpose::no, Transpose::no, rows, dim, keys, scale, dscores, heads.key(kv_head), 0.0,
           gradients.query(head, first_row));
      keep = 1.0;
    }
  }
}

void attention_backward(const Tensor& dout, const Tensor& qkv, const Tensor& out, const Tensor& lse,
                        const AttentionShape& shape, Tensor dqkv) {
  check_same_dtype("attention_backward", dout, qkv, out, lse, dqkv);
  check_attention("attention_backward", qkv, shape);
  HEADROOM_CHECK(shape.plain(), "attention_backward: no window, softcap or scale");
  check_elements("attention_backward", "dout", dout, shape.rows() * shape.query_width());
  check_elements("attention_backward", "out", out, shape.rows() * shape.query_width());
  check_elements("attention_backward", "lse", lse, shape.batch * shape.n_heads * shape.seq);
  check_elements("attention_backward", "dqkv", dqkv, qkv.elements());
  if (shape.seq == 0) return;
  dispatch(qkv.dtype(), [&]<class T>() {
    parallel_items(shape.batch * shape.n_kv_heads, [&](std::int64_t item) {
      attention_backward_head<T>(dout.data<T>(), qkv.data<T>(), out.data<T>(), lse.data<T>(), shape,
                                 item / shape.n_kv_heads, item % shape.n_kv_heads, dqkv.data<T>());
    });
  });
}

void attention_probabilities(const Tensor& qkv, const Tensor& lse, const AttentionShape& shape, std::int64_t sequence,
                             std::int64_t head, Tensor probs) {
  check_same_dtype("attention_probabilities", qkv, lse, probs);
  check_attention("attention_probabilities", qkv, shape);
  check_elements("attention_probabilities", "lse", lse, shape.batch * shape.n_heads * shape.seq);
  check_elements("attention_probabilities", "probs", probs, shape.seq * shape.seq);
  HEADROOM_CHECK(sequence >= 0 && sequence < shape.batch && head >= 0 && head < shape.n_heads,
                 "attention_probabilities: sequence {} of {}, head {} of {}", sequence, shape.batch, head,
                 shape.n_heads);
  if (shape.seq == 0) return;
  dispatch(qkv.dtype(), [&]<class T>() {
    const auto heads = fused_heads<const T>(qkv.data<T>(), shape, sequence);
    const T* row_lse = lse.data<T>() + (sequence * shape.n_heads + head) * shape.seq;
    T* to = probs.data<T>();
    gemm(Transpose::no, Transpose::yes, shape.seq, shape.seq, shape.head_dim, score_scale(shape), heads.query(head, 0),
         heads.key(head / (shape.n_heads / shape.n_kv_heads)), 0.0, Strided<T>{to, shape.seq});
    parallel_for(shape.seq, rows_grain(shape.seq), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        T* line = to + row * shape.seq;
        const std::int64_t first_key = first_visible(shape, row);
        if (shape.softcap > 0.0) cap_scores(line, row + 1, shape.softcap);
        std::fill(line, line + first_key, T{0});
#pragma omp simd
        for (std::int64_t key = first_key; key <= row; ++key) line[key] = fast_exp(line[key] - row_lse[row]);
        std::fill(line + row + 1, line + shape.seq, T{0});
      }
    });
  });
}

}  // namespace

void fill_attention(OpTable& table) {
  table.attention = attention;
  table.attention_backward = attention_backward;
  table.attention_probabilities = attention_probabilities;
}

}  // namespace headroom::cpu
