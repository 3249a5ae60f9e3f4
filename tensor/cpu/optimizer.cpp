// The optimizer's passes over flat tensors: AdamW reads and writes everything once; sums are taken in f64.
#include <algorithm>
#include <cmath>
#include <string_view>

#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/parallel_for.h"
#include "tensor/cpu/scratch.h"
#include "tensor/cpu/table.h"

namespace headroom::cpu {
namespace {

const Piece* pieces_of(std::string_view op, const Tensor& table) {
  HEADROOM_CHECK(table.columns() == Piece::kWords, "{}: a table of pieces {}", op, table.shape().text());
  static_assert(sizeof(Piece) == Piece::kWords * sizeof(std::int64_t));
  return reinterpret_cast<const Piece*>(table.data<std::int64_t>());
}

// The CPU has no dtype whose weights need an original beside them.
void refuse_master(std::string_view op, const Weights& weights) {
  HEADROOM_CHECK(!weights.master.present(), "{}: master weights on the CPU", op);
}

// AdamW's constants in the tensors' own type.
template <class T>
struct Constants {
  explicit Constants(const AdamWStep& step, double gradient_scale)
      : scale(static_cast<T>(gradient_scale)),
        keep1(static_cast<T>(step.beta1)),
        keep2(static_cast<T>(step.beta2)),
        take1(static_cast<T>(1.0 - step.beta1)),
        take2(static_cast<T>(1.0 - step.beta2)),
        rate(static_cast<T>(step.lr / step.bias_correction1)),
        correct2(static_cast<T>(1.0 / step.bias_correction2)),
        eps(static_cast<T>(step.eps)),
        decay(static_cast<T>(step.lr * step.weight_decay)) {}
  T scale, keep1, keep2, take1, take2, rate, correct2, eps, decay;
};

template <class T>
void adamw_piece(const T* grads, const Constants<T>& with, T decay, std::int64_t length, T* params, T* first,
                 T* second) {
  const Constants<T> c = with;
#pragma omp simd
  for (std::int64_t i = 0; i < length; ++i) {
    const T g = c.scale * grads[i];
    const T mean = c.keep1 * first[i] + c.take1 * g;
    const T square = c.keep2 * second[i] + c.take2 * (g * g);
    first[i] = mean;
    second[i] = square;
    params[i] -= c.rate * mean / (std::sqrt(square * c.correct2) + c.eps) + decay * params[i];
  }
}

void adamw(const Tensor& grads, const Tensor& pieces, const AdamWStep& step, const Tensor& scale,
           const Weights& weights, Tensor m, Tensor v) {
  check_same_dtype("adamw", grads, weights.values, m, v);
  check_elements("adamw", "grads", grads, weights.values.elements());
  check_elements("adamw", "v", v, m.elements());
  check_elements("adamw", "scale", scale, 1);
  refuse_master("adamw", weights);
  const double gradient_scale = *scale.data<double>();
  if (gradient_scale < 0.0) return;
  const Piece* const all = pieces_of("adamw", pieces);
  dispatch(grads.dtype(), [&]<class T>() {
    const Constants<T> constants(step, gradient_scale);
    parallel_items(pieces.rows(), [&](std::int64_t index) {
      const Piece& piece = all[index];
      const T decay = (piece.flags & Piece::kDecay) != 0 ? constants.decay : T{0};
      adamw_piece(grads.data<T>() + piece.flat, constants, decay, piece.length, weights.values.data<T>() + piece.flat,
                  m.data<T>() + piece.state, v.data<T>() + piece.state);
    });
  });
}

// Sum of term(x[i]) in f64, in a fixed number of lanes.
template <class T, class Term>
double lane_sum(const T* x, std::int64_t count, const Term& term) {
  double sum = 0.0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < count; ++i) sum += term(static_cast<double>(x[i]));
  return sum;
}

// The same of a whole tensor: blocks of a fixed size, added in order.
template <class Term>
double blocked_sum(const Tensor& x, const Term& term) {
  constexpr std::int64_t kBlock = 16 * 1024;
  return dispatch(x.dtype(), [&]<class T>() {
    const std::int64_t elements = x.elements();
    const std::int64_t blocks = (elements + kBlock - 1) / kBlock;
    const T* values = x.data<T>();
    double* partials = thread_scratch<double>(static_cast<std::size_t>(std::max<std::int64_t>(blocks, 1)));
    parallel_for(blocks, 1, [=](std::int64_t first, std::int64_t last) {
      for (std::int64_t block = first; block < last; ++block) {
        partials[block] = lane_sum(values + block * kBlock, std::min(kBlock, elements - block * kBlock), term);
      }
    });
    double total = 0.0;
    for (std::int64_t block = 0; block < blocks; ++block) total += partials[block];
    return total;
  });
}

double sum(const Tensor& x) {
  return blocked_sum(x, [](double value) { return value; });
}

double sum_of_squares(const Tensor& x, double center) {
  return blocked_sum(x, [center](double value) { return (value - center) * (value - center); });
}

void add_sum(const Tensor& x, double factor, Tensor out) {
  check_elements("add_sum", "out", out, 1);
  *out.data<double>() += factor * sum(x);
}

void piece_sums(const Weights& x, const Tensor& pieces, const Tensor& centers, int power, Tensor sums) {
  HEADROOM_CHECK(power == 1 || power == 2, "piece_sums to the power of {}", power);
  refuse_master("piece_sums", x);
  const Piece* const all = pieces_of("piece_sums", pieces);
  const std::int64_t count = pieces.rows();
  double* const partials = thread_scratch<double>(static_cast<std::size_t>(std::max<std::int64_t>(count, 1)));
  dispatch(x.values.dtype(), [&]<class T>() {
    parallel_items(count, [&](std::int64_t index) {
      const Piece& piece = all[index];
      const T* const values = x.values.data<T>() + piece.flat;
      const double center = centers.present() ? centers.data<double>()[piece.group] : 0.0;
      partials[index] = power == 1 ? lane_sum(values, piece.length, [center](double value) { return value - center; })
                                   : lane_sum(values, piece.length,
                                              [center](double value) { return (value - center) * (value - center); });
    });
  });
  for (std::int64_t index = 0; index < count; ++index) sums.data<double>()[all[index].group] += partials[index];
}

void gradient_scale(const Tensor& loss, const Tensor& squares, double divisor, double clip, const StepLimits& limits,
                    Tensor out) {
  check_elements("gradient_scale", "loss", loss, 2);
  check_elements("gradient_scale", "squares", squares, 1);
  check_elements("gradient_scale", "out", out, 2);
  const double nll = loss.data<double>()[0];
  const double uncounted = divisor / loss.data<double>()[1];
  const double norm = std::sqrt(*squares.data<double>()) * uncounted;
  const double clipping = clip > 0.0 && norm > clip ? clip / norm : 1.0;
  out.data<double>()[0] = norm;
  const bool made =
      std::isfinite(nll) && std::isfinite(norm) && nll / loss.data<double>()[1] <= limits.loss && norm <= limits.norm;
  out.data<double>()[1] = made ? clipping * uncounted : -1.0;
}

void divide(const Tensor& x, const Tensor& divisor, Tensor y) {
  check_elements("divide", "divisor", divisor, x.elements());
  check_elements("divide", "y", y, x.elements());
  for (std::int64_t i = 0; i < x.elements(); ++i) {
    y.data<double>()[i] = x.data<double>()[i] / divisor.data<double>()[i];
  }
}

void tvr_factors(const Tensor& squares, const Tensor& freedom, const Tensor& targets, double threshold,
                 const Tensor& scale, Tensor std, Tensor factors) {
  const std::int64_t groups = squares.elements();
  for (const Tensor& other : {freedom, targets, std, factors}) {
    check_elements("tvr_factors", "one number a group", other, groups);
  }
  const bool void_step = *scale.data<double>() < 0.0;
  for (std::int64_t group = 0; group < groups; ++group) {
    const double target = targets.data<double>()[group];
    const double deviation = std::sqrt(squares.data<double>()[group] / freedom.data<double>()[group]);
    const bool grew = target > 0.0 && deviation / target > std::max(threshold, 1.0);  // never grows a matrix itself
    std.data<double>()[group] = deviation;
    factors.data<double>()[group] = grew && !void_step ? target / deviation : 1.0;
  }
}

template <class T>
void rescale_about(double mean, double factor, std::int64_t length, T* values) {
  const T center = static_cast<T>(mean);
  const T by = static_cast<T>(factor);
#pragma omp simd
  for (std::int64_t i = 0; i < length; ++i) values[i] = (values[i] - center) * by + center;
}

void rescale_pieces(const Tensor& pieces, const Tensor& means, const Tensor& factors, const Weights& weights) {
  refuse_master("rescale_pieces", weights);
  const Piece* const all = pieces_of("rescale_pieces", pieces);
  dispatch(weights.values.dtype(), [&]<class T>() {
    parallel_items(pieces.rows(), [&](std::int64_t index) {
      const Piece& piece = all[index];
      const double factor = factors.data<double>()[piece.group];
      if (factor == 1.0) return;
      T* const values = weights.values.data<T>() + piece.flat;
      if ((piece.flags & Piece::kZero) != 0) {
        std::fill_n(values, piece.length, T{0});
      } else {
        rescale_about(means.data<double>()[piece.group], factor, piece.length, values);
      }
    });
  });
}

}  // namespace

void fill_optimizer(OpTable& table) {
  table.adamw = adamw;
  table.piece_sums = piece_sums;
  table.gradient_scale = gradient_scale;
  table.divide = divide;
  table.tvr_factors = tvr_factors;
  table.rescale_pieces = rescale_pieces;
  table.add_sum = add_sum;
  table.sum = sum;
  table.sum_of_squares = sum_of_squares;
}

}  // namespace headroom::cpu
