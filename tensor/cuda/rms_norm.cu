// RMS norm. Of N = R C elements of b bytes (and 4 R for the rows' rstd, next to nothing), see tensor/cuda/norm_rows.h:
//   rms_norm            2 N b bytes    4 N flops
//   add_rms_norm        4 N b          5 N, and some 15 N integer operations for the magnitudes
//   rms_norm_backward   4 N b         10 N
// All are bound by memory: LLaMA-1B's hidden states in bf16 (16384 x 2048) are 134, 268 and 268 MB, 45, 90 and 90 us
// at 3 TB/s.
#include "tensor/cuda/norm_rows.h"
#include "tensor/cuda/table.h"

namespace headroom::cuda {
namespace {

struct RmsForward {
  static constexpr bool kBeta = false;
  struct Row {
    float rstd;
  };
  float eps;
  float* rstd;

  template <class Pass, class Sums>
  __device__ Row measure(std::int64_t row, int columns, bool first, const Pass& pass, Sums& sums) const {
    float squares[1] = {};
    pass([&](float x) { squares[0] += x * x; });
    sums(squares);
    const Row known{1.0F / sqrtf(squares[0] / static_cast<float>(columns) + eps)};
    if (first) rstd[row] = known.rstd;
    return known;
  }
  __device__ float result(const Row& known, float x, float gamma, float) const { return x * known.rstd * gamma; }
};

// With n = x rstd and g = dy gamma: dx += rstd (g - n mean(g n)), dgamma += dy n.
struct RmsBackward {
  static constexpr int kSums = 1;
  static constexpr bool kBeta = false;
  static constexpr bool kAlpha = false;
  struct Row {
    float rstd;
    float along;  // mean(g n) rstd^2
  };
  const float* rstd;

  __device__ Row row(std::int64_t row) const { return {rstd[row], 0.0F}; }
  __device__ void add_to_sums(const Row&, float dy, float x, float gamma, float (&sums)[kSums]) const {
    sums[0] += dy * gamma * x;
  }
  __device__ void prepare(int columns, const float (&sums)[kSums], Row& known) const {
    known.along = sums[0] * known.rstd * known.rstd * known.rstd / static_cast<float>(columns);
  }
  __device__ float gradient(const Row& known, float dy, float x, float gamma, ParameterShares& shares, float&) const {
    const float scaled = dy * known.rstd;
    shares.gamma += scaled * x;
    return scaled * gamma - x * known.along;
  }
};

void forward(const char* op, const Tensor& x, const Magnitudes& seen, const Tensor& gamma, double eps, const Tensor& h,
             const Tensor& y, const Tensor& rstd) {
  expect(op, "rstd", rstd, DType::f32, x.rows());
  const RmsForward norm{static_cast<float>(eps), rstd.address<float>()};
  dispatch(op, x.dtype(), [&]<class T>() { run_norm<T>(op, norm, x, seen, gamma, {}, h, y); });
}

void rms_norm(const Tensor& x, const Tensor& gamma, double eps, Tensor y, Tensor rstd) {
  forward("rms_norm", x, {}, gamma, eps, {}, y, rstd);
}

void add_rms_norm(const Tensor& x, const Magnitudes& seen, const Tensor& gamma, double eps, Tensor h, Tensor y,
                  Tensor rstd) {
  HEADROOM_CHECK(h.present(), "add_rms_norm: h is absent");
  forward("add_rms_norm", x, seen, gamma, eps, h, y, rstd);
}

void rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& gamma, const Tensor& rstd, Tensor dx,
                       Tensor dgamma) {
  expect("rms_norm_backward", "rstd", rstd, DType::f32, x.rows());
  const RmsBackward norm{rstd.address<float>()};
  dispatch("rms_norm_backward", x.dtype(),
           [&]<class T>() { run_norm_backward<T>("rms_norm_backward", norm, dy, x, gamma, dx, dgamma, {}, {}); });
}

}  // namespace

void fill_rms_norm(OpTable& table) {
  table.rms_norm = rms_norm;
  table.add_rms_norm = add_rms_norm;
  table.rms_norm_backward = rms_norm_backward;
}

}  // namespace headroom::cuda
