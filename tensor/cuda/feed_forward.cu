// The feed-forward layer's element-wise part, bound by memory. For N outputs of b bytes they move
//   swiglu 3 N b        swiglu_backward 5 N b        activation 2 N b        activation_backward 3 N b
// with 10 to 40 flops an element. LLaMA-1B's SwiGLU in bf16 (16384 x 5632): 554 MB forward, 923 MB backward, 185 and
// 308 us at 3 TB/s. A thread reads its elements before it writes them, so that a gradient may take the place of the
// value it was made from.
#include <numbers>

#include "tensor/cuda/dispatch.h"
#include "tensor/cuda/map.h"
#include "tensor/cuda/table.h"
#include "tensor/round_up.h"

namespace headroom::cuda {
namespace {

__device__ inline float sigmoid(float x) {
  return __fdividef(1.0F, 1.0F + expf(-x));
}

// Each kind: its value and its derivative at x. Hendrycks & Gimpel 2016 for both forms of GELU.
struct Gelu {
  static constexpr float kHalfSqrt2 = std::numbers::sqrt2_v<float> / 2;

  __device__ static float value(float x) { return 0.5F * x * (1.0F + erff(x * kHalfSqrt2)); }
  __device__ static float derivative(float x) {
    constexpr float kInverseSqrtTwoPi = std::numbers::inv_sqrtpi_v<float> * kHalfSqrt2;
    return 0.5F * (1.0F + erff(x * kHalfSqrt2)) + x * (kInverseSqrtTwoPi * expf(-0.5F * x * x));
  }
};

// 0.5 (1 + tanh u) is sigmoid(2u): one exponential. 2u = x (a + b x^2).
struct GeluTanh {
  static constexpr float kLinear = 2 * std::numbers::sqrt2_v<float> * std::numbers::inv_sqrtpi_v<float>;
  static constexpr float kCubic = kLinear * 0.044715F;

  __device__ static float value(float x) { return x * sigmoid(x * (kLinear + kCubic * (x * x))); }
  __device__ static float derivative(float x) {
    // Saturated long before the bound, which keeps x^2 finite: 0 times infinity would be no number. A NaN stays one.
    constexpr float kBound = 100.0F;
    const float below = x > kBound ? kBound : x;
    const float bounded = below < -kBound ? -kBound : below;
    const float square = bounded * bounded;
    const float gate = sigmoid(bounded * (kLinear + kCubic * square));
    return gate + bounded * (gate * (1.0F - gate)) * (kLinear + 3.0F * kCubic * square);
  }
};

struct Relu {
  __device__ static float value(float x) { return x < 0.0F ? 0.0F : x; }  // a NaN stays one
  __device__ static float derivative(float x) { return x > 0.0F ? 1.0F : 0.0F; }
};

template <class Kind>
struct Value {
  __device__ float operator()(float x) const { return Kind::value(x); }
};
template <class Kind>
struct TimesDerivative {
  __device__ float operator()(float dy, float x) const { return dy * Kind::derivative(x); }
};

// Calls run.template operator()<Kind>() for a one-argument activation.
template <class Run>
void with_kind(Activation kind, const Run& run) {
  switch (kind) {
    case Activation::gelu:
      return run.template operator()<Gelu>();
    case Activation::gelu_tanh:
      return run.template operator()<GeluTanh>();
    case Activation::relu:
      return run.template operator()<Relu>();
    case Activation::swiglu:
      break;
  }
  HEADROOM_CHECK(false, "activation: swiglu takes two inputs and is an op of its own");
}

void activation(Activation kind, const Tensor& x, Tensor y) {
  expect("activation", "y", y, x.dtype(), x.elements());
  dispatch("activation", x.dtype(), [&]<class T>() {
    with_kind(kind, [&]<class Kind>() {
      map("activation", Plain<Value<Kind>>{}, x.elements(), x.address<T>(), y.address<T>());
    });
  });
}

void activation_backward(Activation kind, const Tensor& dy, const Tensor& x, Tensor dx) {
  expect("activation_backward", "dy", dy, x.dtype(), x.elements());
  expect("activation_backward", "dx", dx, x.dtype(), x.elements());
  dispatch("activation_backward", x.dtype(), [&]<class T>() {
    with_kind(kind, [&]<class Kind>() {
      map("activation_backward", Plain<TimesDerivative<Kind>>{}, x.elements(), dy.address<T>(), x.address<T>(),
          dx.address<T>());
    });
  });
}

// ---- SwiGLU: a block has a strip of a row ------------------------------------------------------------------------

constexpr int kMostThreads = 256;
constexpr int kHeld = 2;  // chunks a thread: 64 bytes on their way, 96 in the backward

// Rows cut into strips of about equal width.
struct Strips {
  unsigned count;       // a row
  std::int64_t chunks;  // of a row
  std::int64_t width;   // chunks of a strip
};

// Where a block's strip is, and which of its chunks a thread has: chunk(0), ..., as long as they are below `end`.
struct Place {
  std::int64_t row;
  std::int64_t first;
  std::int64_t end;

  __device__ explicit Place(const Strips& strips)
      : row(blockIdx.x / strips.count),
        first(blockIdx.x % strips.count * strips.width),
        end(min(first + strips.width, strips.chunks)) {}
  __device__ std::int64_t chunk(int k) const { return first + k * std::int64_t{blockDim.x} + threadIdx.x; }
};

template <class T, int kWidth>
__global__ void __launch_bounds__(kMostThreads) swiglu_kernel(Strips strips, const T* gate_up, T* y) {
  const Place place(strips);
  const std::int64_t width = strips.chunks * kWidth;
  const T* const gates = gate_up + 2 * place.row * width;
  float gate[kHeld][kWidth];
  float up[kHeld][kWidth];
#pragma unroll
  for (int k = 0; k < kHeld; ++k) {
    const std::int64_t at = min(place.chunk(k), place.end - 1) * kWidth;
    load_floats(gates + at, gate[k]);
    load_floats(gates + width + at, up[k]);
  }
#pragma unroll
  for (int k = 0; k < kHeld; ++k) {
    if (place.chunk(k) >= place.end) continue;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) up[k][i] *= gate[k][i] * sigmoid(gate[k][i]);
    store_rounded(up[k], y + place.row * width + place.chunk(k) * kWidth);
  }
}

// With s = sigmoid(gate): dgate = dy up s (1 + gate (1 - s)), dup = dy gate s.
template <class T, int kWidth>
__global__ void __launch_bounds__(kMostThreads)
    swiglu_backward_kernel(Strips strips, const T* dy, const T* gate_up, T* dgate_up) {
  const Place place(strips);
  const std::int64_t width = strips.chunks * kWidth;
  const T* const gates = gate_up + 2 * place.row * width;
  T* const dgates = dgate_up + 2 * place.row * width;
  float grad[kHeld][kWidth];
  float gate[kHeld][kWidth];
  float up[kHeld][kWidth];
#pragma unroll
  for (int k = 0; k < kHeld; ++k) {
    const std::int64_t at = min(place.chunk(k), place.end - 1) * kWidth;
    load_floats(dy + place.row * width + at, grad[k]);
    load_floats(gates + at, gate[k]);
    load_floats(gates + width + at, up[k]);
  }
#pragma unroll
  for (int k = 0; k < kHeld; ++k) {
    if (place.chunk(k) >= place.end) continue;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      const float open = sigmoid(gate[k][i]);
      const float slope = open * (1.0F + gate[k][i] * (1.0F - open));
      const float through = gate[k][i] * open;
      gate[k][i] = grad[k][i] * up[k][i] * slope;
      up[k][i] = grad[k][i] * through;
    }
    store_rounded(gate[k], dgates + place.chunk(k) * kWidth);
    store_rounded(up[k], dgates + width + place.chunk(k) * kWidth);
  }
}

// Starts a kernel over strips of `rows` rows of `width` outputs.
template <int kWidth, class Kernel, class... Arguments>
void launch_strips(const char* op, Kernel kernel, std::int64_t rows, std::int64_t width, Arguments... arguments) {
  const std::int64_t chunks = width / kWidth;
  if (rows == 0 || chunks == 0) return;
  const std::int64_t strips = pieces(chunks, kMostThreads * kHeld);
  const std::int64_t strip = pieces(chunks, strips);
  const auto threads = static_cast<unsigned>(round_up<std::int64_t>(pieces(strip, kHeld), kWarp));
  launch(op, kernel, Grid{dim3(extent(rows * strips)), dim3(threads)}, Strips{extent(strips), chunks, strip},
         arguments...);
}

void swiglu(const Tensor& gate_up, Tensor y) {
  const std::int64_t width = y.columns();
  expect("swiglu", "gate_up", gate_up, y.dtype(), 2 * y.elements());
  HEADROOM_CHECK(gate_up.columns() == 2 * width, "swiglu: gate_up {}, y {}", gate_up.shape().text(), y.shape().text());
  dispatch("swiglu", y.dtype(), [&]<class T>() {
    dispatch_width<T>(aligned_rows<T>(y.raw(), width) && aligned(gate_up.raw()), [&]<int kWidth>() {
      launch_strips<kWidth>("swiglu", swiglu_kernel<T, kWidth>, y.rows(), width, gate_up.address<T>(), y.address<T>());
    });
  });
}

void swiglu_backward(const Tensor& dy, const Tensor& gate_up, Tensor dgate_up) {
  const std::int64_t width = dy.columns();
  expect("swiglu_backward", "gate_up", gate_up, dy.dtype(), 2 * dy.elements());
  expect("swiglu_backward", "dgate_up", dgate_up, dy.dtype(), 2 * dy.elements());
  HEADROOM_CHECK(gate_up.columns() == 2 * width, "swiglu_backward: gate_up {}, dy {}", gate_up.shape().text(),
                 dy.shape().text());
  dispatch("swiglu_backward", dy.dtype(), [&]<class T>() {
    const bool wide = aligned_rows<T>(dy.raw(), width) && aligned(gate_up.raw()) && aligned(dgate_up.raw());
    dispatch_width<T>(wide, [&]<int kWidth>() {
      launch_strips<kWidth>("swiglu_backward", swiglu_backward_kernel<T, kWidth>, dy.rows(), width, dy.address<T>(),
                            gate_up.address<T>(), dgate_up.address<T>());
    });
  });
}

}  // namespace

void fill_feed_forward(OpTable& table) {
  table.swiglu = swiglu;
  table.swiglu_backward = swiglu_backward;
  table.activation = activation;
  table.activation_backward = activation_backward;
}

}  // namespace headroom::cuda
