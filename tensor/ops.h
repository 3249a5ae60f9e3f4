// Every operation on tensors, declared once: formula, shapes, and which argument is written.
//
// Call them as free functions: `ops::rms_norm(x, gamma, eps, y, rstd)`. A call goes to the table of the device its
// first tensor lives on. The CPU's table is always there; a GPU backend brings its own.
//
// Conventions: R rows (tokens), C columns; inputs `const Tensor&` first, outputs `Tensor` by value (a view) last.
// "y =" overwrites, "y +=" accumulates; every parameter gradient and every residual gradient accumulates. Inputs and
// outputs do not overlap unless said otherwise. Results are deterministic: the same inputs and thread count give the
// same bits.
//
// All tensors of a call share one dtype, with exceptions that matter for bf16 alone: gradients of parameters, a row's
// statistics (mean, rstd, log-sum-exp, mass, maxima, sums of exponentials) and tables of angles have
// accumulator_of(dtype), f32. Token ids are i32, what is summed over whole tensors f64. The CPU has f32 and f64, a GPU
// f32 and bf16.
//
// A GPU does what it is asked in order, some time later. Only the operations that return a number or fill host memory
// wait for it.
#pragma once

#include <cstdint>
#include <limits>
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

  // Of other people's models; the CPU's forward only.
  std::int64_t window = 0;  // keys that a query sees, its own and those before it; 0: all of them
  double softcap = 0.0;     // scores become softcap * tanh(scores / softcap); 0: they stay
  double scale = 0.0;       // of q k^T; 0: 1 / sqrt(head_dim)

  bool plain() const { return window == 0 && softcap == 0.0 && scale == 0.0; }

  std::int64_t rows() const { return batch * seq; }
  std::int64_t query_width() const { return n_heads * head_dim; }
  std::int64_t kv_width() const { return n_kv_heads * head_dim; }
  std::int64_t qkv_width() const { return query_width() + 2 * kv_width(); }
};

// One AdamW step's constants (Loshchilov & Hutter 2019).
struct AdamWStep {
  double lr;
  double beta1;
  double beta2;
  double eps;
  double weight_decay;      // of the pieces that decay
  double bias_correction1;  // 1 - beta1^t
  double bias_correction2;  // 1 - beta2^t
};

// What a step's loss (mean over its tokens) and gradient norm (before clipping) may reach; beyond, the step is not
// made.
struct StepLimits {
  double loss = std::numeric_limits<double>::infinity();
  double norm = std::numeric_limits<double>::infinity();
};

// A run of the flat parameter block that belongs to one group (a parameter); what the optimizer's operations work on,
// a whole table of them in one call. A table is an i64 tensor [n, 5], a piece a row. Pieces are short enough
// (Piece::kLargest) to be shared out evenly.
struct Piece {
  std::int64_t flat;    // first element in the block of values, and in that of gradients
  std::int64_t state;   // first element in the rank's optimizer state
  std::int64_t length;  // elements
  std::int64_t group;
  std::int64_t flags;

  static constexpr std::int64_t kDecay = 1;  // weight decay applies
  static constexpr std::int64_t kZero = 2;   // zeroed where its group is rescaled
  static constexpr std::int64_t kLargest = std::int64_t{1} << 16;
  static constexpr std::int64_t kWords = 5;
};

// The weights that the optimizer changes. With bf16 values each rank keeps its pieces' f32 originals, at Piece::state;
// otherwise the values, at Piece::flat, are their own.
struct Weights {
  Tensor values;
  Tensor master;  // may be absent
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

  // An empty summary on a device is this many zeroed i64; each device has its own form of it.
  static constexpr std::int64_t kWords = 3 + kBins;
};

// Where an operation adds the magnitudes of what it passes anyway: a summary on the device, and the number of its
// first row. An absent summary means: nowhere.
struct Magnitudes {
  Tensor summary{};  // i64 [MagnitudeSummary::kWords]
  std::int64_t first_row = 0;
};

// The rows of a pass by token id: group g is rows[starts[g]], ..., rows[starts[g+1] - 1], rising, all of one id.
// rows i32 [R], starts i32 [groups + 1].
struct TokenGroups {
  Tensor rows;
  Tensor starts;
};

// The table of operations; one per device.
struct OpTable {
  // ---- dense algebra ---------------------------------------------------------------------------------------------
  // c = alpha * op(a) op(b) + beta * c;  op(a) [m, k], op(b) [k, n], c [m, n], of a's dtype or its accumulator's (a
  // weight's gradient).
  void (*matmul)(const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b, Tensor c, double alpha,
                 double beta);
  // y = x w^T + bias; x [R, in], w [out, in], bias [out] or absent.
  void (*linear)(const Tensor& x, const Tensor& w, const Tensor& bias, Tensor y);
  // inner = x w^T + bias, y = gelu_tanh(inner).
  void (*linear_gelu)(const Tensor& x, const Tensor& w, const Tensor& bias, Tensor inner, Tensor y);
  // dinner = (dy w) gelu_tanh'(inner); dy [R, out], w [out, in].
  void (*linear_gelu_backward)(const Tensor& dy, const Tensor& w, const Tensor& inner, Tensor dinner);
  // x[r, c] += bias[c]
  void (*add_bias)(const Tensor& bias, Tensor x);
  // dbias[c] += sum_r dy[r, c]
  void (*bias_backward)(const Tensor& dy, Tensor dbias);
  // y += x
  void (*add)(const Tensor& x, Tensor y);
  // y = x, of the same dtype
  void (*copy)(const Tensor& x, Tensor y);
  // y = 0
  void (*zero)(Tensor y);

  // ---- norms: x, y, dy, dx [R, C]; gamma, beta [C]; beta may be absent -------------------------------------------
  // y = x * rstd * gamma, rstd[r] = 1 / sqrt(mean_c x^2 + eps)                     (Zhang & Sennrich 2019)
  void (*rms_norm)(const Tensor& x, const Tensor& gamma, double eps, Tensor y, Tensor rstd);
  // The same of a sum that is made on the way: h += x, y = norm(h), h's magnitudes added to `seen`. So for all three.
  void (*add_rms_norm)(const Tensor& x, const Magnitudes& seen, const Tensor& gamma, double eps, Tensor h, Tensor y,
                       Tensor rstd);
  // dx += ..., dgamma += ...
  void (*rms_norm_backward)(const Tensor& dy, const Tensor& x, const Tensor& gamma, const Tensor& rstd, Tensor dx,
                            Tensor dgamma);
  // y = (x - mean) * rstd * gamma + beta, rstd = 1 / sqrt(var + eps), biased variance   (Ba et al. 2016)
  void (*layer_norm)(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps, Tensor y, Tensor mean,
                     Tensor rstd);
  void (*add_layer_norm)(const Tensor& x, const Magnitudes& seen, const Tensor& gamma, const Tensor& beta, double eps,
                         Tensor h, Tensor y, Tensor mean, Tensor rstd);
  void (*layer_norm_backward)(const Tensor& dy, const Tensor& x, const Tensor& gamma, const Tensor& mean,
                              const Tensor& rstd, Tensor dx, Tensor dgamma, Tensor dbeta);
  // y = gamma * tanh(alpha * x) + beta, alpha [1]                                  (arXiv 2503.10622)
  void (*dyt)(const Tensor& x, const Tensor& alpha, const Tensor& gamma, const Tensor& beta, Tensor y);
  void (*add_dyt)(const Tensor& x, const Magnitudes& seen, const Tensor& alpha, const Tensor& gamma, const Tensor& beta,
                  Tensor h, Tensor y);
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
  // (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin), x1 = x[:angles], x2 = x[angles:2 angles]; cos, sin
  // [>= seq, angles], angles <= head_dim/2; what is beyond (the CPU only) stays. `inverse` rotates back, which is also
  // the backward.
  void (*rotary)(const Tensor& cos, const Tensor& sin, const AttentionShape& shape, bool inverse, Tensor qkv);
  // Causal softmax(q k^T / sqrt(head_dim)) v, with the shape's window, softcap and scale where it has them. out [R,
  // n_heads*head_dim]; lse [batch, n_heads, seq] the log-sum-exp of each query's scaled scores.
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
  // The attention probabilities of one sequence and head, for snapshots: probs [seq, seq] of lse's dtype, zero above
  // the diagonal.
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
  // y[r, :] = table[ids[r] - first_row, :], or 0 where that row is not in the table. ids [R]
  void (*embedding)(const Tensor& ids, const Tensor& table, std::int64_t first_row, Tensor y);
  // dtable[ids[r] - first_row, :] += dy[r, :]. `tokens` says which rows have the same id, so that each row of the table
  // has one sum, in one order.
  void (*embedding_backward)(const Tensor& ids, const TokenGroups& tokens, const Tensor& dy, std::int64_t first_row,
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
  // is ignored everywhere. targets [n]
  void (*exp_and_sum)(const Tensor& row_max, const Tensor& targets, std::int64_t first_column,
                      std::int64_t real_columns, Tensor logits, Tensor sum_exp, Tensor target_logit);
  // From exp_and_sum's exponentials to gradients in place: dlogits = scale * (exp / sum_exp - onehot(target)),
  // whole row 0 where the target is -1; padded columns keep exp_and_sum's 0.
  void (*cross_entropy_backward)(const Tensor& sum_exp, const Tensor& targets, std::int64_t first_column,
                                 std::int64_t real_columns, double scale, Tensor logits);
  // All of that in one pass where the whole vocabulary is here: sum_exp, target_logit, and the gradients in place of
  // the logits. With scale = 0 what becomes of the logits is not said.
  void (*cross_entropy)(const Tensor& targets, std::int64_t real_columns, double scale, Tensor logits, Tensor sum_exp,
                        Tensor target_logit);
  // nll[0] += sum over the rows with a target of log(sum_exp) - target_logit. nll f64 [1]
  void (*add_token_losses)(const Tensor& sum_exp, const Tensor& target_logit, const Tensor& targets, Tensor nll);

  // ---- optimizer: flat tensors, all pieces of a table in one call ---------------------------------------------------
  // m = b1 m + (1-b1) g, v = b2 v + (1-b2) g^2, p -= lr * (m/c1 / (sqrt(v/c2) + eps) + decay * p), g = scale * grad.
  // grads at Piece::flat, of accumulator_of(values' dtype); m, v at Piece::state, of any dtype; scale f64 [1]: negative
  // means a step not to be made, nothing changes.
  void (*adamw)(const Tensor& grads, const Tensor& pieces, const AdamWStep& step, const Tensor& scale,
                const Weights& weights, Tensor m, Tensor v);
  // sums[group] += sum over the group's pieces of (x - center[group])^power; centers f64 [groups], absent: 0; power 1
  // or 2; sums f64 [groups]. In f64, in an order that depends on the table alone.
  void (*piece_sums)(const Weights& x, const Tensor& pieces, const Tensor& centers, int power, Tensor sums);
  // From a loss {nll, tokens} f64 [2] and the gradient's sum of squares f64 [1], all of a loss divided by `divisor`
  // where it should have been by its tokens: out f64 [2] = {norm of the gradient, what to multiply it by}, by
  // divisor / tokens and so that the norm is at most `clip` (0: no limit); -1 when loss or norm are not finite or
  // beyond the step's limits.
  void (*gradient_scale)(const Tensor& loss, const Tensor& squares, double divisor, double clip,
                         const StepLimits& limits, Tensor out);
  // y[i] = x[i] / divisor[i], f64
  void (*divide)(const Tensor& x, const Tensor& divisor, Tensor y);
  // TVR (reference section 3). Of group i: std = sqrt(squares / freedom); factor = target / std if target > 0 and
  // std / target > max(threshold, 1), else 1. std, factors f64 [groups]; all factors 1 when scale f64 [1] is negative.
  void (*tvr_factors)(const Tensor& squares, const Tensor& freedom, const Tensor& targets, double threshold,
                      const Tensor& scale, Tensor std, Tensor factors);
  // Where the group's factor is not 1: x = (x - mean) * factor + mean, or 0 for Piece::kZero. means, factors f64
  void (*rescale_pieces)(const Tensor& pieces, const Tensor& means, const Tensor& factors, const Weights& weights);
  // out[0] += factor * sum x, f64 [1]
  void (*add_sum)(const Tensor& x, double factor, Tensor out);

  // ---- statistics ------------------------------------------------------------------------------------------------
  // sum x, and sum (x - center)^2, accumulated in f64 in an order that depends on the size alone. They wait.
  double (*sum)(const Tensor& x);
  double (*sum_of_squares)(const Tensor& x, double center);
  // Adds max |x| with its place and the histogram of magnitudes to a summary.
  void (*summarize_magnitudes)(const Tensor& x, const Magnitudes& seen);
  // Summaries i64 [n, MagnitudeSummary::kWords] of tensors with `columns` columns, into host memory. It waits.
  void (*read_summaries)(const Tensor& summaries, std::int64_t columns, std::span<MagnitudeSummary> out);
};

// The table of a device. Throws ExitCode::usage if no backend for it is loaded.
const OpTable& op_table(Device device);

namespace ops {

namespace detail {
// The tensors among the arguments decide the device, and must agree on it.
class DeviceOf {
 public:
  void operator()(const Tensor& tensor) {
    if (!tensor.present()) return;
    HEADROOM_CHECK(!known_ || tensor.device() == device_, "an operation between tensors on {} and {}", name_of(device_),
                   name_of(tensor.device()));
    device_ = tensor.device();
    known_ = true;
  }
  void operator()(const Weights& weights) { (*this)(weights.values); }
  void operator()(const Magnitudes& seen) { (*this)(seen.summary); }
  void operator()(const TokenGroups& tokens) { (*this)(tokens.rows); }
  template <class Other>
  void operator()(const Other& other) {
    if constexpr (std::is_convertible_v<const Other&, const Tensor&>) (*this)(static_cast<const Tensor&>(other));
  }
  Device device() const { return device_; }

 private:
  Device device_ = Device::cpu;
  bool known_ = false;
};

template <class... Arguments>
Device device_of(const Arguments&... arguments) {
  DeviceOf device;
  (device(arguments), ...);
  return device.device();
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
inline constexpr detail::Op<&OpTable::linear> linear;
inline constexpr detail::Op<&OpTable::linear_gelu> linear_gelu;
inline constexpr detail::Op<&OpTable::linear_gelu_backward> linear_gelu_backward;
inline constexpr detail::Op<&OpTable::add_bias> add_bias;
inline constexpr detail::Op<&OpTable::bias_backward> bias_backward;
inline constexpr detail::Op<&OpTable::add> add;
inline constexpr detail::Op<&OpTable::copy> copy;
inline constexpr detail::Op<&OpTable::zero> zero;
inline constexpr detail::Op<&OpTable::rms_norm> rms_norm;
inline constexpr detail::Op<&OpTable::add_rms_norm> add_rms_norm;
inline constexpr detail::Op<&OpTable::rms_norm_backward> rms_norm_backward;
inline constexpr detail::Op<&OpTable::layer_norm> layer_norm;
inline constexpr detail::Op<&OpTable::add_layer_norm> add_layer_norm;
inline constexpr detail::Op<&OpTable::layer_norm_backward> layer_norm_backward;
inline constexpr detail::Op<&OpTable::dyt> dyt;
inline constexpr detail::Op<&OpTable::add_dyt> add_dyt;
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
inline constexpr detail::Op<&OpTable::cross_entropy> cross_entropy;
inline constexpr detail::Op<&OpTable::add_token_losses> add_token_losses;
inline constexpr detail::Op<&OpTable::adamw> adamw;
inline constexpr detail::Op<&OpTable::piece_sums> piece_sums;
inline constexpr detail::Op<&OpTable::gradient_scale> gradient_scale;
inline constexpr detail::Op<&OpTable::divide> divide;
inline constexpr detail::Op<&OpTable::tvr_factors> tvr_factors;
inline constexpr detail::Op<&OpTable::rescale_pieces> rescale_pieces;
inline constexpr detail::Op<&OpTable::add_sum> add_sum;
inline constexpr detail::Op<&OpTable::sum> sum;
inline constexpr detail::Op<&OpTable::sum_of_squares> sum_of_squares;
inline constexpr detail::Op<&OpTable::summarize_magnitudes> summarize_magnitudes;
inline constexpr detail::Op<&OpTable::read_summaries> read_summaries;

}  // namespace ops
}  // namespace headroom
