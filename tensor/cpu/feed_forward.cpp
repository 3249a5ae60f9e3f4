// The feed-forward layer's element-wise part. Backwards read an element before they write it, so that a gradient may
// take the place of the value it was made from.
#include "tensor/cpu/activations.h"
#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/parallel_for.h"
#include "tensor/cpu/table.h"

namespace headroom::cpu {
namespace {

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

void swiglu(const Tensor& gate_up, Tensor y) {
  const std::int64_t width = y.columns();
  check_same_dtype("swiglu", gate_up, y);
  HEADROOM_CHECK(gate_up.rows() == y.rows() && gate_up.columns() == 2 * width, "swiglu: gate_up {}, y {}",
                 gate_up.shape().text(), y.shape().text());
  dispatch(y.dtype(), [&]<class T>() {
    const T* from = gate_up.data<T>();
    T* to = y.data<T>();
    parallel_for(y.rows(), rows_grain(width), [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const T* gate = from + 2 * row * width;
        const T* up = gate + width;
        T* out = to + row * width;
#pragma omp simd
        for (std::int64_t i = 0; i < width; ++i) out[i] = gate[i] * sigmoid(gate[i]) * up[i];
      }
    });
  });
}

// With s = sigmoid(gate): dgate = dy up s (1 + gate (1 - s)), dup = dy gate s.
void swiglu_backward(const Tensor& dy, const Tensor& gate_up, Tensor dgate_up) {
  const std::int64_t width = dy.columns();
  check_same_dtype("swiglu_backward", dy, gate_up, dgate_up);
  HEADROOM_CHECK(gate_up.rows() == dy.rows() && gate_up.columns() == 2 * width, "swiglu_backward: gate_up {}, dy {}",
                 gate_up.shape().text(), dy.shape().text());
  check_elements("swiglu_backward", "dgate_up", dgate_up, gate_up.elements());
  dispatch(dy.dtype(), [&]<class T>() {
    const T* dys = dy.data<T>();
    const T* from = gate_up.data<T>();
    T* to = dgate_up.data<T>();
    parallel_for(dy.rows(), rows_grain(width), [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const T* grad = dys + row * width;
        const T* gates = from + 2 * row * width;
        const T* ups = gates + width;
        T* dgates = to + 2 * row * width;
        T* dups = dgates + width;
#pragma omp simd
        for (std::int64_t i = 0; i < width; ++i) {
          const T gate = gates[i];
          const T open = sigmoid(gate);
          const T slope = open * (T{1} + gate * (T{1} - open));
          const T up = ups[i];
          dgates[i] = grad[i] * up * slope;
          dups[i] = grad[i] * (gate * open);
        }
      }
    });
  });
}

void activation(Activation kind, const Tensor& x, Tensor y) {
  check_same_dtype("activation", x, y);
  check_elements("activation", "y", y, x.elements());
  dispatch(x.dtype(), [&]<class T>() {
    with_kind(kind, [&]<class Kind>() {
      const T* from = x.data<T>();
      T* to = y.data<T>();
      parallel_for(x.elements(), kElementGrain, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
        for (std::int64_t i = begin; i < end; ++i) to[i] = Kind::value(from[i]);
      });
    });
  });
}

void activation_backward(Activation kind, const Tensor& dy, const Tensor& x, Tensor dx) {
  check_same_dtype("activation_backward", x, dy, dx);
  check_elements("activation_backward", "dy", dy, x.elements());
  check_elements("activation_backward", "dx", dx, x.elements());
  dispatch(x.dtype(), [&]<class T>() {
    with_kind(kind, [&]<class Kind>() {
      const T* from = x.data<T>();
      const T* grad = dy.data<T>();
      T* to = dx.data<T>();
      parallel_for(x.elements(), kElementGrain, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
        for (std::int64_t i = begin; i < end; ++i) to[i] = grad[i] * Kind::derivative(from[i]);
      });
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

}  // namespace headroom::cpu
