// Attention as its definition says it, in f64 and one number at a time: the truth for attention_test and kv_bias_test.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <ostream>
#include <vector>

#include "tests/tensor/reference.h"

namespace headroom::reference {

struct AttentionResult {
  std::vector<double> out;   // [batch*seq, n_heads*head_dim]
  std::vector<double> lse;   // [batch, n_heads, seq]
  std::vector<double> mass;  // [batch, n_heads, seq] the bias slot's probability; 0 without one
};

struct AttentionGradients {
  std::vector<double> dqkv;
  std::vector<double> dkey;
  std::vector<double> dvalue;
};

// Element `i` of token `row`'s head: part 0 its queries, 1 keys, 2 values.
inline std::size_t qkv_index(const AttentionShape& shape, std::int64_t row, int part, std::int64_t head,
                             std::int64_t i) {
  const std::int64_t before = part == 0 ? 0 : shape.query_width() + (part - 1) * shape.kv_width();
  return static_cast<std::size_t>(row * shape.qkv_width() + before + head * shape.head_dim + i);
}

// What one query gives to the keys that it sees: the tokens up to its own, then the bias slot if there is a `key`.
struct QuerySoftmax {
  std::vector<double> probs;
  double lse = 0.0;
};

inline QuerySoftmax softmax_of_query(const std::vector<double>& qkv, const AttentionShape& shape, std::int64_t b,
                                     std::int64_t head, std::int64_t t, const std::vector<double>* key = nullptr) {
  const std::int64_t kv = head / (shape.n_heads / shape.n_kv_heads);
  const double* query = &qkv[qkv_index(shape, b * shape.seq + t, 0, head, 0)];
  const auto score = [&](const double* other) {
    double sum = 0.0;
    for (std::int64_t i = 0; i < shape.head_dim; ++i) sum += query[i] * other[i];
    const double scaled =
        sum * (shape.scale > 0.0 ? shape.scale : 1.0 / std::sqrt(static_cast<double>(shape.head_dim)));
    return shape.softcap > 0.0 ? shape.softcap * std::tanh(scaled / shape.softcap) : scaled;
  };
  QuerySoftmax result;
  for (std::int64_t j = 0; j <= t; ++j) {
    const bool seen = shape.window == 0 || t - j < shape.window;
    result.probs.push_back(seen ? score(&qkv[qkv_index(shape, b * shape.seq + j, 1, kv, 0)])
                                : -std::numeric_limits<double>::infinity());
  }
  if (key != nullptr) result.probs.push_back(score(&(*key)[static_cast<std::size_t>(kv * shape.head_dim)]));
  const double largest = *std::max_element(result.probs.begin(), result.probs.end());
  double total = 0.0;
  for (double& value : result.probs) total += value = std::exp(value - largest);
  for (double& value : result.probs) value /= total;
  result.lse = largest + std::log(total);
  return result;
}

// Calls work(b, head, t, row) for every query; row = b * seq + t.
template <class Work>
void for_each_query(const AttentionShape& shape, const Work& work) {
  for (std::int64_t b = 0; b < shape.batch; ++b) {
    for (std::int64_t head = 0; head < shape.n_heads; ++head) {
      for (std::int64_t t = 0; t < shape.seq; ++t) work(b, head, t, b * shape.seq + t);
    }
  }
}

// softmax([q K^T, q k'^T] / sqrt(head_dim)) [V; v'], causal over the real keys. Without `key` there is no slot,
// without `value` v' = 0. A query at a time: long sequences take time, but no memory.
inline AttentionResult attention(const std::vector<double>& qkv, const AttentionShape& shape,
                                 const std::vector<double>* key = nullptr, const std::vector<double>* value = nullptr) {
  AttentionResult result;
  result.out.assign(static_cast<std::size_t>(shape.rows() * shape.query_width()), 0.0);
  for_each_query(shape, [&](std::int64_t b, std::int64_t head, std::int64_t t, std::int64_t row) {
    const std::int64_t kv = head / (shape.n_heads / shape.n_kv_heads);
    const QuerySoftmax softmax = softmax_of_query(qkv, shape, b, head, t, key);
    result.lse.push_back(softmax.lse);
    result.mass.push_back(key != nullptr ? softmax.probs.back() : 0.0);
    double* out = &result.out[static_cast<std::size_t>(row * shape.query_width() + head * shape.head_dim)];
    const auto add = [&](double probability, const double* v) {
      for (std::int64_t i = 0; i < shape.head_dim; ++i) out[i] += probability * v[i];
    };
    for (std::int64_t j = 0; j <= t; ++j) {
      add(softmax.probs[static_cast<std::size_t>(j)], &qkv[qkv_index(shape, b * shape.seq + j, 2, kv, 0)]);
    }
    if (value != nullptr) add(softmax.probs.back(), &(*value)[static_cast<std::size_t>(kv * shape.head_dim)]);
  });
  return result;
}

// The gradients of the same, from its probabilities, by the chain rule through the softmax. With `out`, the forward's
// own output: sum_j p_j dp_j is then taken as dout.out, as every fused attention does; in bf16 that output is rounded.
inline AttentionGradients attention_backward(const std::vector<double>& dout, const std::vector<double>& qkv,
                                             const AttentionShape& shape, const std::vector<double>* key = nullptr,
                                             const std::vector<double>* value = nullptr,
                                             const std::vector<double>* out = nullptr) {
  AttentionGradients result;
  result.dqkv.assign(qkv.size(), 0.0);
  result.dkey.assign(static_cast<std::size_t>(shape.kv_width()), 0.0);
  result.dvalue.assign(static_cast<std::size_t>(shape.kv_width()), 0.0);
  const std::int64_t dim = shape.head_dim;
  const double scale = 1.0 / std::sqrt(static_cast<double>(dim));
  for_each_query(shape, [&](std::int64_t b, std::int64_t head, std::int64_t t, std::int64_t row) {
    const std::int64_t kv = head / (shape.n_heads / shape.n_kv_heads);
    const std::vector<double> probs = softmax_of_query(qkv, shape, b, head, t, key).probs;
    const double* gradient = &dout[static_cast<std::size_t>(row * shape.query_width() + head * dim)];
    const std::size_t query = qkv_index(shape, row, 0, head, 0);
    const auto slot = static_cast<std::size_t>(kv * dim);  // in key, value and their gradients
    const auto token = [&](std::size_t j, int part) {
      return qkv_index(shape, b * shape.seq + static_cast<std::int64_t>(j), part, kv, 0);
    };
    const auto is_token = [&](std::size_t j) { return static_cast<std::int64_t>(j) <= t; };
    std::vector<double> dprobs(probs.size(), 0.0);
    double mean = 0.0;
    for (std::size_t j = 0; j < probs.size(); ++j) {
      const double* v = is_token(j) ? &qkv[token(j, 2)] : value != nullptr ? &(*value)[slot] : nullptr;
      double* dv = is_token(j) ? &result.dqkv[token(j, 2)] : &result.dvalue[slot];
      for (std::int64_t i = 0; i < dim; ++i) {
        if (v != nullptr) dprobs[j] += gradient[i] * v[i];
        dv[i] += probs[j] * gradient[i];
      }
      mean += probs[j] * dprobs[j];
    }
    if (out != nullptr) {
      const double* own = &(*out)[static_cast<std::size_t>(row * shape.query_width() + head * dim)];
      mean = std::inner_product(gradient, gradient + dim, own, 0.0);
    }
    for (std::size_t j = 0; j < probs.size(); ++j) {
      const double dscore = scale * probs[j] * (dprobs[j] - mean);
      const double* k = is_token(j) ? &qkv[token(j, 1)] : &(*key)[slot];
      double* dk = is_token(j) ? &result.dqkv[token(j, 1)] : &result.dkey[slot];
      for (std::int64_t i = 0; i < dim; ++i) {
        result.dqkv[query + static_cast<std::size_t>(i)] += dscore * k[i];
        dk[i] += dscore * qkv[query + static_cast<std::size_t>(i)];
      }
    }
  });
  return result;
}

// For the names of test cases: "2x67_5on1x7".
inline std::string name_of(const AttentionShape& shape) {
  return std::to_string(shape.batch) + "x" + std::to_string(shape.seq) + "_" + std::to_string(shape.n_heads) + "on" +
         std::to_string(shape.n_kv_heads) + "x" + std::to_string(shape.head_dim) +
         (shape.window > 0 ? "_window" + std::to_string(shape.window) : "") + (shape.softcap > 0.0 ? "_capped" : "") +
         (shape.scale > 0.0 ? "_scaled" : "");
}

// One key-value head a query head and groups, sequences around the block of queries, odd and tiny extents.
inline const AttentionShape kAttentionShapes[] = {
    {1, 1, 1, 1, 1},   {2, 2, 1, 1, 3},   {3, 7, 3, 3, 5},  {2, 16, 4, 2, 8},   {1, 31, 6, 2, 16},
    {2, 64, 2, 1, 32}, {1, 65, 4, 4, 64}, {2, 67, 5, 1, 7}, {1, 131, 3, 1, 13}, {1, 256, 2, 2, 64},
};
// With windows (of one key, within and over blocks of queries), soft caps and scales: on the CPU alone.
inline const AttentionShape kForeignAttentionShapes[] = {{2, 7, 3, 1, 5, 1},
                                                         {1, 67, 2, 1, 7, 5},
                                                         {2, 131, 3, 3, 13, 64},
                                                         {1, 200, 2, 2, 8, 130},
                                                         {2, 31, 4, 2, 16, 0, 1.5},
                                                         {1, 70, 2, 1, 10, 9, 0.7, 0.9},
                                                         {1, 19, 3, 1, 4, 0, 0.0, 1.0},
                                                         {1, 1100, 1, 1, 3, 1000, 2.0}};
// Beyond 1024 tokens a block has fewer queries than 64: 48, 16 and, by the lower bound, 16.
inline const AttentionShape kLongAttentionShapes[] = {{1, 1031, 1, 1, 3}, {1, 2053, 1, 1, 3}, {1, 5003, 1, 1, 1}};

}  // namespace headroom::reference

namespace headroom {
inline void PrintTo(const AttentionShape& shape, std::ostream* out) {
  *out << "batch " << shape.batch << ", seq " << shape.seq << ", heads " << shape.n_heads << "/" << shape.n_kv_heads
       << ", head_dim " << shape.head_dim;
}
}  // namespace headroom
