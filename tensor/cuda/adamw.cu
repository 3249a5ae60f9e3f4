// AdamW over all pieces of the table in one launch. Moments may be kept in bf16, rounded to nearest.
//
// Of N numbers: reads gradient, moments and weight, writes moments and weight, and the value where the weight is a
// master's: 30 N bytes with master weights of bf16 values and f32 moments (22 N with bf16 moments), 28 N in f32, some
// 20 flops each. Bound by memory: 1.1e9 parameters 33 GB, 124e6 3.7 GB.
#include "tensor/cuda/piece_table.h"
#include "tensor/cuda/table.h"

namespace headroom::cuda {
namespace {

constexpr int kWide = 4;  // numbers of a 16-byte access in f32; of an 8-byte one in bf16

struct Constants {
  float keep1, keep2, take1, take2, rate, correct2, eps, decay;

  explicit Constants(const AdamWStep& step)
      : keep1(static_cast<float>(step.beta1)),
        keep2(static_cast<float>(step.beta2)),
        take1(static_cast<float>(1.0 - step.beta1)),
        take2(static_cast<float>(1.0 - step.beta2)),
        rate(static_cast<float>(step.lr / step.bias_correction1)),
        correct2(static_cast<float>(1.0 / step.bias_correction2)),
        eps(static_cast<float>(step.eps)),
        decay(static_cast<float>(step.lr * step.weight_decay)) {}
};

// `wide`: all tensors begin on 16-byte borders.
template <class T, class First, class Second>
__global__ void __launch_bounds__(kPieceThreads)
    adamw_kernel(const float* __restrict__ grads, const Piece* __restrict__ table, Constants constants,
                 const double* __restrict__ scale, bool wide, WeightsAt<T> weights, First* __restrict__ m,
                 Second* __restrict__ v) {
  const double gradient_scale = *scale;
  if (gradient_scale < 0.0) return;
  const auto by = static_cast<float>(gradient_scale);
  const Piece part = own_part(table);
  const float decay = (part.flags & Piece::kDecay) != 0 ? constants.decay : 0.0F;
  const bool part_wide = wide && part.flat % kWide == 0 && part.state % kWide == 0;
  for_share<kWide, 1>(part.length, part_wide, [&]<int kCount>(std::int64_t i) {
    float gradient[kCount];
    float first[kCount];
    float second[kCount];
    float weight[kCount];
    load_floats(grads + part.flat + i, gradient);
    load_floats(m + part.state + i, first);
    load_floats(v + part.state + i, second);
    weights.load(part, i, weight);
#pragma unroll
    for (int n = 0; n < kCount; ++n) {
      const float g = by * gradient[n];
      first[n] = constants.keep1 * first[n] + constants.take1 * g;
      second[n] = constants.keep2 * second[n] + constants.take2 * (g * g);
      weight[n] -=
          constants.rate * first[n] / (sqrtf(second[n] * constants.correct2) + constants.eps) + decay * weight[n];
    }
    store_floats(first, m + part.state + i);
    store_floats(second, v + part.state + i);
    weights.store(part, i, weight);
  });
}

void adamw(const Tensor& grads, const Tensor& table, const AdamWStep& step, const Tensor& scale, const Weights& weights,
           Tensor m, Tensor v) {
  expect("adamw", "grads", grads, DType::f32, weights.values.elements());
  expect("adamw", "scale", scale, DType::f64, 1);
  HEADROOM_CHECK(m.elements() == v.elements(), "adamw: moments {} and {}", m.shape().text(), v.shape().text());
  HEADROOM_CHECK(!weights.master.present() || weights.master.elements() == m.elements(),
                 "adamw: master weights {} beside moments {}", weights.master.shape().text(), m.shape().text());
  const bool wide = aligned(grads.raw()) && aligned(weights.values.raw()) && aligned(weights.master.raw()) &&
                    aligned(m.raw()) && aligned(v.raw());
  dispatch("adamw", weights.values.dtype(), [&]<class T>() {
    dispatch("adamw", m.dtype(), [&]<class First>() {
      dispatch("adamw", v.dtype(), [&]<class Second>() {
        launch("adamw", adamw_kernel<T, First, Second>, part_grid(table), grads.address<float>(),
               rows_of("adamw", table), Constants(step), scale.address<double>(), wide, weights_at<T>("adamw", weights),
               m.address<First>(), v.address<Second>());
      });
    });
  });
}

}  // namespace

void fill_adamw(OpTable& table) {
  table.adamw = adamw;
}

}  // namespace headroom::cuda
