// The optimizer's decisions, made on the device so that a step needs no word with the host: the gradient's scale, TVR's
// factors, and the rescaling itself.
//
// The decisions are a few numbers. Rescaling reads and writes what it changes, at most 10 bytes a number with master
// weights, 8 in f32: bound by memory; groups whose factor is 1 cost a look at the table.
#include "tensor/cuda/piece_table.h"
#include "tensor/cuda/table.h"

namespace headroom::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWide = 4;

__device__ bool finite(double x) {
  return x - x == 0.0;
}

__global__ void gradient_scale_kernel(const double* loss, const double* squares, double divisor, double clip,
                                      StepLimits limits, double* out) {
  const double uncounted = divisor / loss[1];
  const double norm = sqrt(*squares) * uncounted;
  const double clipping = clip > 0.0 && norm > clip ? clip / norm : 1.0;
  out[0] = norm;
  const bool made = finite(loss[0]) && finite(norm) && loss[0] / loss[1] <= limits.loss && norm <= limits.norm;
  out[1] = made ? clipping * uncounted : -1.0;
}

void gradient_scale(const Tensor& loss, const Tensor& squares, double divisor, double clip, const StepLimits& limits,
                    Tensor out) {
  expect("gradient_scale", "loss", loss, DType::f64, 2);
  expect("gradient_scale", "squares", squares, DType::f64, 1);
  expect("gradient_scale", "out", out, DType::f64, 2);
  launch("gradient_scale", gradient_scale_kernel, Grid{1, 1}, loss.address<double>(), squares.address<double>(),
         divisor, clip, limits, out.address<double>());
}

__device__ std::int64_t own_element() {
  return std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
}

__global__ void divide_kernel(const double* x, const double* divisor, std::int64_t count, double* y) {
  const std::int64_t i = own_element();
  if (i < count) y[i] = x[i] / divisor[i];
}

void divide(const Tensor& x, const Tensor& divisor, Tensor y) {
  const std::int64_t count = x.elements();
  expect("divide", "x", x, DType::f64, count);
  expect("divide", "divisor", divisor, DType::f64, count);
  expect("divide", "y", y, DType::f64, count);
  launch("divide", divide_kernel, Grid{extent(pieces(count, kThreads)), kThreads}, x.address<double>(),
         divisor.address<double>(), count, y.address<double>());
}

// The groups' numbers, f64 [groups] each.
struct Groups {
  const double* squares;
  const double* freedom;
  const double* targets;
  std::int64_t count;
};

// `least`: the ratio of deviation and target above which a group is rescaled.
__global__ void tvr_factors_kernel(Groups groups, double least, const double* scale, double* deviations,
                                   double* factors) {
  const std::int64_t group = own_element();
  if (group >= groups.count) return;
  const double target = groups.targets[group];
  const double deviation = sqrt(groups.squares[group] / groups.freedom[group]);
  const bool grew = target > 0.0 && deviation / target > least;
  deviations[group] = deviation;
  factors[group] = grew && *scale >= 0.0 ? target / deviation : 1.0;
}

void tvr_factors(const Tensor& squares, const Tensor& freedom, const Tensor& targets, double threshold,
                 const Tensor& scale, Tensor std, Tensor factors) {
  const std::int64_t count = squares.elements();
  expect("tvr_factors", "squares", squares, DType::f64, count);
  expect("tvr_factors", "freedom", freedom, DType::f64, count);
  expect("tvr_factors", "targets", targets, DType::f64, count);
  expect("tvr_factors", "scale", scale, DType::f64, 1);
  expect("tvr_factors", "std", std, DType::f64, count);
  expect("tvr_factors", "factors", factors, DType::f64, count);
  const Groups groups{squares.address<double>(), freedom.address<double>(), targets.address<double>(), count};
  const double least = threshold > 1.0 ? threshold : 1.0;  // never grows a group, whatever the threshold
  launch("tvr_factors", tvr_factors_kernel, Grid{extent(pieces(count, kThreads)), kThreads}, groups, least,
         scale.address<double>(), std.address<double>(), factors.address<double>());
}

// `wide`: all tensors begin on 16-byte borders.
template <class T>
__global__ void __launch_bounds__(kPieceThreads)
    rescale_kernel(const Piece* __restrict__ table, const double* __restrict__ means,
                   const double* __restrict__ factors, bool wide, WeightsAt<T> weights) {
  const Piece part = own_part(table);
  const double group_factor = factors[part.group];
  if (group_factor == 1.0) return;
  const auto mean = static_cast<float>(means[part.group]);
  const auto factor = static_cast<float>(group_factor);
  const bool zero = (part.flags & Piece::kZero) != 0;
  const bool part_wide = wide && part.flat % kWide == 0 && part.state % kWide == 0;
  for_share<kWide, 1>(part.length, part_wide, [&]<int kCount>(std::int64_t i) {
    float weight[kCount];
    weights.load(part, i, weight);
#pragma unroll
    for (int n = 0; n < kCount; ++n) weight[n] = zero ? 0.0F : (weight[n] - mean) * factor + mean;
    weights.store(part, i, weight);
  });
}

void rescale_pieces(const Tensor& table, const Tensor& means, const Tensor& factors, const Weights& weights) {
  expect("rescale_pieces", "means", means, DType::f64, factors.elements());
  expect("rescale_pieces", "factors", factors, DType::f64, factors.elements());
  const bool wide = aligned(weights.values.raw()) && aligned(weights.master.raw());
  dispatch("rescale_pieces", weights.values.dtype(), [&]<class T>() {
    launch("rescale_pieces", rescale_kernel<T>, part_grid(table), rows_of("rescale_pieces", table),
           means.address<double>(), factors.address<double>(), wide, weights_at<T>("rescale_pieces", weights));
  });
}

}  // namespace

void fill_tvr(OpTable& table) {
  table.gradient_scale = gradient_scale;
  table.divide = divide;
  table.tvr_factors = tvr_factors;
  table.rescale_pieces = rescale_pieces;
}

}  // namespace headroom::cuda
