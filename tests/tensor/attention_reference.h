// Attention as its definition says it, in f64 and one number at a time: the truth for attention_test and kv_bias_test.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <ostream>
#include <vector>

#include "tests/tensor/reference.h"

namespace headroom::reference {

struct AttentionResult {
  std::vector<double> out;    // [batch*seq, n_heads*head_dim]
  std::vector<double> lse;    // [batch, n_heads, seq]
  std::vector<double> probs;  // [batch, n_heads, seq, seq + 1]; the last column is the bias slot's
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

// softmax([q K^T, q k'^T] / sqrt(head_dim)) [V; v'], causal over the real keys. Without `key` there is no slot,
// without `value` v' = 0.
inline AttentionResult attention(const std::vector<double>& qkv, const AttentionShape& shape,
                                 const std::vector<double>* key = nullptr, const std::vector<double>* value = nullptr) {
  AttentionResult result;
  result.out.assign(static_cast<std::size_t>(shape.rows() * shape.query_width()), 0.0);
  result.lse.assign(static_cast<std::size_t>(shape.batch * shape.n_heads * shape.seq), 0.0);
  result.probs.assign(static_cast<std::size_t>(shape.batch * shape.n_heads * shape.seq * (shape.seq + 1)), 0.0);
  const std::int64_t dim = shape.head_dim;
  const std::int64_t group = shape.n_heads / shape.n_kv_heads;
  for (std::int64_t b = 0; b < shape.batch; ++b) {
    for (std::int64_t head = 0; head < shape.n_heads; ++head) {
      const std::int64_t kv = head / group;
      for (std::int64_t t = 0; t < shape.seq; ++t) {
        const std::int64_t row = b * shape.seq + t;
        const std::int64_t line = (b * shape.n_heads + head) * shape.seq + t;
        double* probs = &result.probs[static_cast<std::size_t>(line * (shape.seq + 1))];
        const auto visible = [&](std::int64_t j) { return j == shape.seq ? key != nullptr : j <= t; };
        double largest = -std::numeric_limits<double>::infinity();
        for (std::int64_t j = 0; j <= shape.seq; ++j) {
          if (!visible(j)) continue;
          const bool slot = j == shape.seq;
          double score = 0.0;
          for (std::int64_t i = 0; i < dim; ++i) {
            score +=
                qkv[qkv_index(shape, row, 0, head, i)] * (slot ? (*key)[static_cast<std::size_t>(kv * dim + i)]
                                                               : qkv[qkv_index(shape, b * shape.seq + j, 1, kv, i)]);
          }
          probs[j] = score / std::sqrt(static_cast<double>(dim));
          largest = std::max(largest, probs[j]);
        }
        double total = 0.0;
        for (std::int64_t j = 0; j <= shape.seq; ++j) {
          if (visible(j)) total += probs[j] = std::exp(probs[j] - largest);
        }
        result.lse[static_cast<std::size_t>(line)] = largest + std::log(total);
        for (std::int64_t j = 0; j <= shape.seq; ++j) {
          probs[j] /= total;
          if (probs[j] == 0.0) continue;
          for (std::int64_t i = 0; i < dim; ++i) {
            const double v = j < shape.seq      ? qkv[qkv_index(shape, b * shape.seq + j, 2, kv, i)]
                             : value != nullptr ? (*value)[static_cast<std::size_t>(kv * dim + i)]
                                                : 0.0;
            result.out[static_cast<std::size_t>(row * shape.query_width() + head * dim + i)] += probs[j] * v;
          }
        }
      }
    }
  }
  return result;
}

// The gradients of the same, from its probabilities, by the chain rule through the softmax.
inline AttentionGradients attention_backward(const std::vector<double>& dout, const std::vector<double>& qkv,
                                             const AttentionShape& shape, const std::vector<double>* key = nullptr,
                                             const std::vector<double>* value = nullptr) {
  const AttentionResult forward = attention(qkv, shape, key, value);
  AttentionGradients result;
  result.dqkv.assign(qkv.size(), 0.0);
  result.dkey.assign(static_cast<std::size_t>(shape.kv_width()), 0.0);
  result.dvalue.assign(static_cast<std::size_t>(shape.kv_width()), 0.0);
  const std::int64_t dim = shape.head_dim;
  const std::int64_t group = shape.n_heads / shape.n_kv_heads;
  const double scale = 1.0 / std::sqrt(static_cast<double>(dim));
  std::vector<double> dprobs(static_cast<std::size_t>(shape.seq + 1));
  for (std::int64_t b = 0; b < shape.batch; ++b) {
    for (std::int64_t head = 0; head < shape.n_heads; ++head) {
      const std::int64_t kv = head / group;
      for (std::int64_t t = 0; t < shape.seq; ++t) {
        const std::int64_t row = b * shape.seq + t;
        const double* probs =
            &forward.probs[static_cast<std::size_t>(((b * shape.n_heads + head) * shape.seq + t) * (shape.seq + 1))];
        const double* gradient = &dout[static_cast<std::size_t>(row * shape.query_width() + head * dim)];
        double mean = 0.0;
        for (std::int64_t j = 0; j <= shape.seq; ++j) {
          double sum = 0.0;
          for (std::int64_t i = 0; i < dim; ++i) {
            const auto slot = static_cast<std::size_t>(kv * dim + i);
            const double v = j < shape.seq      ? qkv[qkv_index(shape, b * shape.seq + j, 2, kv, i)]
                             : value != nullptr ? (*value)[slot]
                                                : 0.0;
            sum += gradient[i] * v;
            (j < shape.seq ? result.dqkv[qkv_index(shape, b * shape.seq + j, 2, kv, i)] : result.dvalue[slot]) +=
                probs[j] * gradient[i];
          }
          dprobs[static_cast<std::size_t>(j)] = sum;
          mean += probs[j] * sum;
        }
        for (std::int64_t j = 0; j <= shape.seq; ++j) {
          const double dscore = scale * probs[j] * (dprobs[static_cast<std::size_t>(j)] - mean);
          if (dscore == 0.0) continue;
          for (std::int64_t i = 0; i < dim; ++i) {
            const auto slot = static_cast<std::size_t>(kv * dim + i);
            const std::size_t query = qkv_index(shape, row, 0, head, i);
            const std::size_t other = qkv_index(shape, b * shape.seq + std::min(j, shape.seq - 1), 1, kv, i);
            result.dqkv[query] += dscore * (j < shape.seq ? qkv[other] : (*key)[slot]);
            (j < shape.seq ? result.dqkv[other] : result.dkey[slot]) += dscore * qkv[query];
          }
        }
      }
    }
  }
  return result;
}

// One key-value head a query head and groups, sequences around the block of queries, odd and tiny extents.
inline const AttentionShape kAttentionShapes[] = {
    {1, 1, 1, 1, 1},   {2, 2, 1, 1, 3},   {3, 7, 3, 3, 5},  {2, 16, 4, 2, 8},   {1, 31, 6, 2, 16},
    {2, 64, 2, 1, 32}, {1, 65, 4, 4, 64}, {2, 67, 5, 1, 7}, {1, 131, 3, 1, 13}, {1, 256, 2, 2, 64},
};

}  // namespace headroom::reference

namespace headroom {
inline void PrintTo(const AttentionShape& shape, std::ostream* out) {
  *out << "batch " << shape.batch << ", seq " << shape.seq << ", heads " << shape.n_heads << "/" << shape.n_kv_heads
       << ", head_dim " << shape.head_dim;
}
}  // namespace headroom
