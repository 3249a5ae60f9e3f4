// Every operation on tensors, declared once: formula, shapes, and which argument is written.
//
// Call them as free functions: `ops::rms_norm(x, gamma, eps, y, rstd)`. A call goes to the table of the device its
// first tensor lives on. The CPU's table is always there; a GPU backend brings its own.
//
// Conventions: R rows (tokens), C columns; inputs `const Tensor&` first, outputs `Tensor` by value (a view) last.
// "y =" overwrites, "y +=" accumulates; every parameter gradient and every residual gradient accumulates. All tensors
// of a call share one dtype unless said otherwise. Inputs and outputs do not overlap unless said otherwise.
// Results are deterministic: the same inputs and thread count give the same bits.
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include "tensor/tensor.h"

namespace headroom {

enum class Transpose : std::uint8_t { no, yes };
enum class Activation : std::uint8_t { swiglu, gelu, gelu_tanh, relu };

// Attention's geometry. `qkv` tensors are [batch*seq, (n_heads + 2*n_kv_heads) * head_dim]: per token all queries,
// then all keys, then all values. Query head h uses key-value head h / (n_heads / n_kv_heads).
struct AttentionShape {
  std::int64_t batch;
  std::int64_t seq;
  std::int64_t n_heads;
  std::int64_t n_kv_heads;
  std::int64_t head_dim;

  std::int64_t rows() const { return batch * seq; }
  std::int64_t query_width() const { return n_heads * head_dim; }
  std::int64_t kv_width() const { return n_kv_heads * head_dim; }
  std::int64_t qkv_width() const { return query_width() + 2 * kv_width(); }
};

// One AdamW step's constants (Loshchilov & Hutter 2019). `grad_scale` multiplies the gradient first (clipping).
struct AdamWStep {
  double lr;
  double beta1;
  double beta2;
  double eps;
  double weight_decay;
  double bias_correction1;  // 1 - beta1^t
  double bias_correction2;  // 1 - beta2^t
  double grad_scale;
};

// What the monitor keeps of one hidden state. Each octave [2^e, 2^(e+1)) from kLowestExponent on has kBinsPerOctave
// bins of equal width, read off the float's exponent and top mantissa bits; zeros and smaller fall into bin 0, larger
// into the last.
struct MagnitudeSummary {
  static constexpr int kLowestExponent = -24;
  static constexpr int kOctaves = 48;
  static constexpr int kBinsPerOctave = 8;
  static constexpr int kBins = kOctaves * kBinsPerOctave;

  double max_abs = 0.0;     // NaN if any element is NaN
  std::int64_t row = 0;     // of the maximum (the first, in row-major order)
  std::int64_t column = 0;  //
  std::int64_t counts[kBins] = {};
};

// The table of operations; one per device.
struct OpTable {
  // ---- dense algebra ---------------------------------------------------------------------------------------------
  // c = alpha * op(a) op(b) + beta * c;  op(a) [m, k], op(b) [k, n], c [m, n].
  void (*matmul)(const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b, Tensor c, double alpha,
                 double beta);
  // x[r, c] += bias[c]
  void (*add_bias)(const Tensor& bias, Tensor x);
  // dbias[c] += sum_r dy[r, c]
  void (*bias_backward)(const Tensor& dy, Tensor dbias);
  // y += x
  void (*add)(const Tensor& x, Tensor y);
  // y = x
  void (*copy)(const Tensor& x, Tensor y);
  // y = 0
  void (*zero)(Tensor y);

  // ---- norms: x, y, dy, dx [R, C]; gamma, beta [C]; beta may be absent -------------------------------------------
  // y = x * rstd * gamma, rstd[r] = 1 / sqrt(mean_c x^2 + eps)                     (Zhang & Sennrich 2019)
  void (*rms_norm)(const Tensor& x, const Tensor& gamma, double eps, Tensor y, Tensor rstd);
  // dx += ..., dgamma += ...
  void (*rms_norm_backward)(const Tensor& dy, const Tensor& x, const Tensor& gamma, const Tensor& rstd, Tensor dx,
                            Tensor dgamma);
  // y = (x - mean) * rstd * gamma + beta, rstd = 1 / sqrt(var + eps), biased variance   (Ba et al. 2016)
  void (*layer_norm)(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps, Tensor y, Tensor mean,
                     Tensor rstd);
  void (*layer_norm_backward)(const Tensor& dy, const Tensor& x, const Tensor& gamma, const Tensor& mean,
                              const Tensor& rstd, Tensor dx, Tensor dgamma, Tensor dbeta);
  // y = gamma * tanh(alpha * x) + beta, alpha [1]                                  (arXiv 2503.10622)
  void (*dyt)(const Tensor& x, const Tensor& alpha, const Tensor& gamma, const Tensor& beta, Tensor y);
  void (*dyt_backward)(const Tensor& dy, const Tensor& x, const Tensor& alpha, const Tensor& gamma, Tensor dx,
                       Tensor dalpha, Tensor dgamma, Tensor dbeta);
  // RMS norm of every query and key head (gammas [head_dim]); values copied. qkv, out as AttentionShape says;
  // rstd [R, n_heads + n_kv_heads].
  void (*qk_norm)(const Tensor& qkv, const AttentionShape& shape, const Tensor& gamma_q, const Tensor& gamma_k,
                  double eps, Tensor out, Tensor rstd);
  // dqkv = ... (all three parts), gammas' gradients +=
  void (*qk_norm_backward)(const Tensor& dout, const Tensor& qkv, const AttentionShape& shape, const Tensor& gamma_q,
                           const Tensor& gamma_k, const Tensor& rstd, Tensor dqkv, Tensor dgamma_q, Tensor dgamma_k);

  // ---- attention -------------------------------------------------------------------------------------------------
  // Rotates queries and keys in place, halves convention (RoFormer as in LLaMA's Hugging Face form):
  // (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin), x1 = x[:head_dim/2]; cos, sin [>= seq, head_dim/2].
  // `inverse` rotates back, which is also the backward.
  void (*rotary)(const Tensor& cos, const Tensor& sin, const AttentionShape& shape, bool inverse, Tensor qkv);
  // Causal softmax(q k^T / sqrt(head_dim)) v. out [R, n_heads*head_dim]; lse [batch, n_heads, seq] the log-sum-exp of
  // each query's scaled scores.
  void (*attention)(const Tensor& qkv, const AttentionShape& shape, Tensor out, Tensor lse);
  // dqkv = ...; out and lse as `attention` (or, with a KV bias, `kv_bias`) left them.
  void (*attention_backward)(const Tensor& dout, const Tensor& qkv, const Tensor& out, const Tensor& lse,
                             const AttentionShape& shape, Tensor dqkv);
  // One more key and value slot per key-value head, visible to every query, on top of plain attention's results:
  // s = q.k'/sqrt(head_dim), L' = log(e^L + e^s), mass = e^(s - L'), out = (1 - mass) out + mass v', lse = L'.
  // key, value [n_kv_heads, head_dim]; value absent means v' = 0; mass [batch, n_heads, seq]. out, lse in place.
  void (*kv_bias)(const Tensor& qkv, const Tensor& key, const Tensor& value, const AttentionShape& shape, Tensor out,
                  Tensor lse, Tensor mass);
  // After attention_backward was called with the new out and lse: dqkv += (queries), dkey += , dvalue +=
  // (absent if value is). ds = mass * (dout.v' - rowsum(dout * out)).
  void (*kv_bias_backward)(const Tensor& dout, const Tensor& qkv, const Tensor& out, const Tensor& mass,
                           const Tensor& key, const Tensor& value, const AttentionShape& shape, Tensor dqkv,
                           Tensor dkey, Tensor dvalue);
  // The attention probabilities of one sequence and head, for snapshots: probs [seq, seq], zero above the diagonal.
  void (*attention_probabilities)(const Tensor& qkv, const Tensor& lse, const AttentionShape& shape,
                                  std::int64_t sequence, std::int64_t head, Tensor probs);

  // ---- feed-forward ----------------------------------------------------------------------------------------------
  // y = silu(gate) * up; gate_up [R, 2F] (gates first), y [R, F].                  (Shazeer 2020)
  void (*swiglu)(const Tensor& gate_up, Tensor y);
  // dgate_up = ...; may be the same memory as gate_up.
  void (*swiglu_backward)(const Tensor& dy, const Tensor& gate_up, Tensor dgate_up);
  // y = f(x), f one of gelu (exact, erf), gelu_tanh, relu.
  void (*activation)(Activation kind, const Tensor& x, Tensor y);
  // dx = dy * f'(x); dx may be the same memory as x or dy.
  void (*activation_backward)(Activation kind, const Tensor& dy, const Tensor& x, Tensor dx);

  // ---- embedding -------------------------------------------------------------------------------------------------
  // y[r, :] = table[ids[r] - first_row, :], or 0 where that row is not in the table.
  void (*embedding)(std::span<const std::int32_t> ids, const Tensor& table, std::int64_t first_row, Tensor y);
  // dtable[ids[r] - first_row, :] += dy[r, :]
  void (*embedding_backward)(std::span<const std::int32_t> ids, const Tensor& dy, std::int64_t first_row,
                             Tensor dtable);
  // x[r, :] += table[(first_token + r) % seq, :]; table [>= seq, C]
  void (*add_positions)(const Tensor& table, std::int64_t first_token, std::int64_t seq, Tensor x);
  void (*add_positions_backward)(const Tensor& dx, std::int64_t first_token, std::int64_t seq, Tensor dtable);
  // y = s * x with a learned scalar s [1]
  void (*scale_by)(const Tensor& x, const Tensor& s, Tensor y);
  // dx = s * dy (may be the same memory as dy), ds += sum(dy * x)
  void (*scale_by_backward)(const Tensor& dy, const Tensor& x, const Tensor& s, Tensor dx, Tensor ds);

  // ---- cross-entropy over a (shard of a) vocabulary; logits [n, V] of which the first real_columns count -----------
  // row_max[r] = max over the real columns (-infinity if there are none)
  void (*row_max)(const Tensor& logits, std::int64_t real_columns, Tensor row_max);
  // logits[r, c] = exp(logits[r, c] - row_max[r]), 0 in padded columns; sum_exp[r] = its row sum;
  // target_logit[r] = logits[r, target - first_column] - row_max[r] if that column is here, else 0. A target of -1
  // is ignored everywhere.
  void (*exp_and_sum)(const Tensor& row_max, std::span<const std::int32_t> targets, std::int64_t first_column,
                      std::int64_t real_columns, Tensor logits, Tensor sum_exp, Tensor target_logit);
  // From exp_and_sum's exponentials to gradients in place: dlogits = scale * (exp / sum_exp - onehot(target)),
  // whole row 0 where the target is -1; padded columns keep exp_and_sum's 0.
  void (*cross_entropy_backward)(const Tensor& sum_exp, std::span<const std::int32_t> targets,
                                 std::int64_t first_column, std::int64_t real_columns, double scale, Tensor logits);

  // ---- optimizer: flat tensors -----------------------------------------------------------------------------------
  // m = b1 m + (1-b1) g, v = b2 v + (1-b2) g^2, p -= lr * (m/c1 / (sqrt(v/c2) + eps) + decay * p), g = grad_scale*grad
  void (*adamw)(const Tensor& grad, const AdamWStep& step, Tensor param, Tensor m, Tensor v);
  // sum x, and sum (x - center)^2, accumulated in f64 in an order that depends on the size alone
  double (*sum)(const Tensor& x);
  double (*sum_of_squares)(const Tensor& x, double center);
  // x = (x - mean) * factor + mean
  void (*rescale_about)(double mean, double factor, Tensor x);

  // ---- statistics ------------------------------------------------------------------------------------------------
  // max |x| with its place and the histogram of magnitudes; adds to `summary` (row offset by first_row).
  void (*summarize_magnitudes)(const Tensor& x, std::int64_t first_row, MagnitudeSummary& summary);
};

// The table of a device. Throws ExitCode::usage if no backend for it is loaded.
const OpTable& op_table(Device device);

namespace ops {

namespace detail {
// The first tensor among the arguments decides the device.
template <class First, class... Rest>
Device device_of(const First& first, const Rest&... rest) {
  if constexpr (std::is_convertible_v<const First&, const Tensor&>) {
    return static_cast<const Tensor&>(first).device();
  } else {
    return device_of(rest...);
  }
}

template <auto Member>
struct Op {
  template <class... Arguments>
  auto operator()(Arguments&&... arguments) const {
    return (op_table(device_of(arguments...)).*Member)(std::forward<Arguments>(arguments)...);
  }
};
}  // namespace detail

inline constexpr detail::Op<&OpTable::matmul> matmul;
inline constexpr detail::Op<&OpTable::add_bias> add_bias;
inline constexpr detail::Op<&OpTable::bias_backward> bias_backward;
inline constexpr detail::Op<&OpTable::add> add;
inline constexpr detail::Op<&OpTable::copy> copy;
inline constexpr detail::Op<&OpTable::zero> zero;
inline constexpr detail::Op<&OpTable::rms_norm> rms_norm;
inline constexpr detail::Op<&OpTable::rms_norm_backward> rms_norm_backward;
inline constexpr detail::Op<&OpTable::layer_norm> layer_norm;
inline constexpr detail::Op<&OpTable::layer_norm_backward> layer_norm_backward;
inline constexpr detail::Op<&OpTable::dyt> dyt;
inline constexpr detail::Op<&OpTable::dyt_backward> dyt_backward;
inline constexpr detail::Op<&OpTable::qk_norm> qk_norm;
inline constexpr detail::Op<&OpTable::qk_norm_backward> qk_norm_backward;
inline constexpr detail::Op<&OpTable::rotary> rotary;
inline constexpr detail::Op<&OpTable::attention> attention;
inline constexpr detail::Op<&OpTable::attention_backward> attention_backward;
inline constexpr detail::Op<&OpTable::kv_bias> kv_bias;
inline constexpr detail::Op<&OpTable::kv_bias_backward> kv_bias_backward;
inline constexpr detail::Op<&OpTable::attention_probabilities> attention_probabilities;
inline constexpr detail::Op<&OpTable::swiglu> swiglu;
inline constexpr detail::Op<&OpTable::swiglu_backward> swiglu_backward;
inline constexpr detail::Op<&OpTable::activation> activation;
inline constexpr detail::Op<&OpTable::activation_backward> activation_backward;
inline constexpr detail::Op<&OpTable::embedding> embedding;
inline constexpr detail::Op<&OpTable::embedding_backward> embedding_backward;
inline constexpr detail::Op<&OpTable::add_positions> add_positions;
inline constexpr detail::Op<&OpTable::add_positions_backward> add_positions_backward;
inline constexpr detail::Op<&OpTable::scale_by> scale_by;
inline constexpr detail::Op<&OpTable::scale_by_backward> scale_by_backward;
inline constexpr detail::Op<&OpTable::row_max> row_max;
inline constexpr detail::Op<&OpTable::exp_and_sum> exp_and_sum;
inline constexpr detail::Op<&OpTable::cross_entropy_backward> cross_entropy_backward;
inline constexpr detail::Op<&OpTable::adamw> adamw;
inline constexpr detail::Op<&OpTable::sum> sum;
inline constexpr detail::Op<&OpTable::sum_of_squares> sum_of_squares;
inline constexpr detail::Op<&OpTable::rescale_about> rescale_about;
inline constexpr detail::Op<&OpTable::summarize_magnitudes> summarize_magnitudes;

}  // namespace ops
}  // namespace headroom
