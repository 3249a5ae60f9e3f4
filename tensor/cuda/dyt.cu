// Dynamic tanh, the element-wise stand-in for a norm (arXiv 2503.10622), in the norms' frame but without sums over a
// row. tanh is made anew in the backward: computing it costs less than keeping it. Of N = R C elements of b bytes:
//   dyt            2 N b bytes    some 20 N flops
//   add_dyt        4 N b          the same, and some 15 N integer operations for the magnitudes
//   dyt_backward   4 N b          some 30 N
// Bound by memory as the norms are (tensor/cuda/rms_norm.cu).
#include "tensor/cuda/norm_rows.h"
#include "tensor/cuda/table.h"

namespace headroom::cuda {
namespace {

template <class T>
struct DytForward {
  static constexpr bool kBeta = true;
  struct Row {
    float alpha;
  };
  const T* alpha;

  template <class Pass, class Sums>
  __device__ Row measure(std::int64_t, int, bool, const Pass&, Sums&) const {
    return {static_cast<float>(*alpha)};
  }
  __device__ float result(const Row& known, float x, float gamma, float beta) const {
    return gamma * tanhf(known.alpha * x) + beta;
  }
};

// With t = tanh(alpha x) and u = dy gamma (1 - t^2): dx += alpha u, dgamma += dy t, dbeta += dy, dalpha += u x.
template <class T>
struct DytBackward {
  static constexpr int kSums = 0;
  static constexpr bool kBeta = true;
  static constexpr bool kAlpha = true;
  struct Row {
    float alpha;
  };
  const T* alpha;

  __device__ Row row(std::int64_t) const { return {static_cast<float>(*alpha)}; }
  template <class Sums>
  __device__ void add_to_sums(const Row&, float, float, float, Sums&) const {}
  template <class Sums>
  __device__ void prepare(int, const Sums&, Row&) const {}
  __device__ float gradient(const Row& known, float dy, float x, float gamma, ParameterShares& shares,
                            float& alpha_share) const {
    const float t = tanhf(known.alpha * x);
    const float inner = dy * gamma * ((1.0F - t) * (1.0F + t));
    shares.gamma += dy * t;
    shares.beta += dy;
    alpha_share += inner * x;
    return known.alpha * inner;
  }
};

void forward(const char* op, const Tensor& x, const Magnitudes& seen, const Tensor& alpha, const Tensor& gamma,
             const Tensor& beta, const Tensor& h, const Tensor& y) {
  expect(op, "alpha", alpha, x.dtype(), 1);
  dispatch(op, x.dtype(),
           [&]<class T>() { run_norm<T>(op, DytForward<T>{alpha.address<T>()}, x, seen, gamma, beta, h, y); });
}

void dyt(const Tensor& x, const Tensor& alpha, const Tensor& gamma, const Tensor& beta, Tensor y) {
  forward("dyt", x, {}, alpha, gamma, beta, {}, y);
}

void add_dyt(const Tensor& x, const Magnitudes& seen, const Tensor& alpha, const Tensor& gamma, const Tensor& beta,
             Tensor h, Tensor y) {
  HEADROOM_CHECK(h.present(), "add_dyt: h is absent");
  forward("add_dyt", x, seen, alpha, gamma, beta, h, y);
}

void dyt_backward(const Tensor& dy, const Tensor& x, const Tensor& alpha, const Tensor& gamma, Tensor dx, Tensor dalpha,
                  Tensor dgamma, Tensor dbeta) {
  expect("dyt_backward", "alpha", alpha, x.dtype(), 1);
  expect("dyt_backward", "dalpha", dalpha, DType::f32, 1);
  dispatch("dyt_backward", x.dtype(), [&]<class T>() {
    run_norm_backward<T>("dyt_backward", DytBackward<T>{alpha.address<T>()}, dy, x, gamma, dx, dgamma, dbeta, dalpha);
  });
}

}  // namespace

void fill_dyt(OpTable& table) {
  table.dyt = dyt;
  table.add_dyt = add_dyt;
  table.dyt_backward = dyt_backward;
}

}  // namespace headroom::cuda
