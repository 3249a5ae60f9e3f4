// Layer norm. Of N = R C elements of b bytes (and 8 R for the rows' mean and rstd), see tensor/cuda/norm_rows.h:
//   layer_norm            2 N b bytes    7 N flops
//   add_layer_norm        4 N b          8 N, and some 15 N integer operations for the magnitudes
//   layer_norm_backward   4 N b         13 N
// All are bound by memory: GPT-2's hidden states in bf16 (65536 x 768) are 201, 403 and 403 MB, 67, 134 and 134 us at
// 3 TB/s. The variance is that of the row in registers around its mean, not a difference of large sums.
#include "tensor/cuda/norm_rows.h"
#include "tensor/cuda/table.h"

namespace headroom::cuda {
namespace {

struct LayerForward {
  static constexpr bool kBeta = true;
  struct Row {
    float mean;
    float rstd;
  };
  float eps;
  float* mean;
  float* rstd;

  template <class Pass, class Sums>
  __device__ Row measure(std::int64_t row, int columns, bool first, const Pass& pass, Sums& sums) const {
    const auto count = static_cast<float>(columns);
    float sum[1] = {};
    pass([&](float x) { sum[0] += x; });
    sums(sum);
    const float center = sum[0] / count;
    float squares[1] = {};
    pass([&](float x) { squares[0] += (x - center) * (x - center); });
    sums(squares);
    const Row known{center, 1.0F / sqrtf(squares[0] / count + eps)};
    if (first) {
      mean[row] = known.mean;
      rstd[row] = known.rstd;
    }
    return known;
  }
  __device__ float result(const Row& known, float x, float gamma, float beta) const {
    return (x - known.mean) * known.rstd * gamma + beta;
  }
};

// With n = (x - mean) rstd and g = dy gamma: dx += rstd (g - mean(g) - n mean(g n)), dgamma += dy n, dbeta += dy.
struct LayerBackward {
  static constexpr int kSums = 2;
  static constexpr bool kBeta = true;
  static constexpr bool kAlpha = false;
  struct Row {
    float mean;
    float rstd;
    float level;  // mean(g)
    float along;  // mean(g n) rstd
  };
  const float* mean;
  const float* rstd;

  __device__ Row row(std::int64_t row) const { return {mean[row], rstd[row], 0.0F, 0.0F}; }
  __device__ void add_to_sums(const Row& known, float dy, float x, float gamma, float (&sums)[kSums]) const {
    const float weighted = dy * gamma;
    sums[0] += weighted;
    sums[1] += weighted * (x - known.mean);
  }
  __device__ void prepare(int columns, const float (&sums)[kSums], Row& known) const {
    known.level = sums[0] / static_cast<float>(columns);
    known.along = sums[1] * known.rstd * known.rstd / static_cast<float>(columns);
  }
  __device__ float gradient(const Row& known, float dy, float x, float gamma, ParameterShares& shares, float&) const {
    const float offset = x - known.mean;
    shares.gamma += dy * (offset * known.rstd);
    shares.beta += dy;
    return known.rstd * (dy * gamma - known.level - offset * known.along);
  }
};

void forward(const char* op, const Tensor& x, const Magnitudes& seen, const Tensor& gamma, const Tensor& beta,
             double eps, const Tensor& h, const Tensor& y, const Tensor& mean, const Tensor& rstd) {
  expect(op, "mean", mean, DType::f32, x.rows());
  expect(op, "rstd", rstd, DType::f32, x.rows());
  const LayerForward norm{static_cast<float>(eps), mean.address<float>(), rstd.address<float>()};
  dispatch(op, x.dtype(), [&]<class T>() { run_norm<T>(op, norm, x, seen, gamma, beta, h, y); });
}

void layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps, Tensor y, Tensor mean,
                Tensor rstd) {
  forward("layer_norm", x, {}, gamma, beta, eps, {}, y, mean, rstd);
}

void add_layer_norm(const Tensor& x, const Magnitudes& seen, const Tensor& gamma, const Tensor& beta, double eps,
                    Tensor h, Tensor y, Tensor mean, Tensor rstd) {
  HEADROOM_CHECK(h.present(), "add_layer_norm: h is absent");
  forward("add_layer_norm", x, seen, gamma, beta, eps, h, y, mean, rstd);
}

void layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& gamma, const Tensor& mean, const Tensor& rstd,
                         Tensor dx, Tensor dgamma, Tensor dbeta) {
  expect("layer_norm_backward", "mean", mean, DType::f32, x.rows());
  expect("layer_norm_backward", "rstd", rstd, DType::f32, x.rows());
  const LayerBackward norm{mean.address<float>(), rstd.address<float>()};
  dispatch("layer_norm_backward", x.dtype(),
           [&]<class T>() { run_norm_backward<T>("layer_norm_backward", norm, dy, x, gamma, dx, dgamma, dbeta, {}); });
}

}  // namespace

void fill_layer_norm(OpTable& table) {
  table.layer_norm = layer_norm;
  table.add_layer_norm = add_layer_norm;
  table.layer_norm_backward = layer_norm_backward;
}

}  // namespace headroom::cuda
