#include "tensor/host_rows.h"

#include <cmath>

#include "tensor/cpu/activations.h"
#include "tensor/cpu/parallel_for.h"

namespace headroom::host {
namespace {

struct Silu {
  static float value(float x) { return x * cpu::sigmoid(x); }
};
struct Gelu {
  static float value(float x) { return cpu::Gelu::value(x); }
};
struct GeluTanh {
  static float value(float x) { return cpu::GeluTanh::value(x); }
};
struct Relu {
  static float value(float x) { return cpu::Relu::value(x); }
};

template <class Run>
void with_kind(RowActivation kind, const Run& run) {
  switch (kind) {
    case RowActivation::silu:
      return run.template operator()<Silu>();
    case RowActivation::gelu:
      return run.template operator()<Gelu>();
    case RowActivation::gelu_tanh:
      return run.template operator()<GeluTanh>();
    case RowActivation::relu:
      return run.template operator()<Relu>();
  }
}

template <class Change>
void each(Tensor x, const Change& change) {
  float* values = x.data<float>();
  cpu::parallel_for(x.elements(), cpu::kElementGrain, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) values[i] = change(values[i]);
  });
}

void norm_block(bool centred, float eps, const float* weight, const float* bias, std::int64_t width, float* x) {
  float sum = 0.0F;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < width; ++i) sum += x[i];
  const float mean = centred ? sum / static_cast<float>(width) : 0.0F;
  float squares = 0.0F;
#pragma omp simd reduction(+ : squares)
  for (std::int64_t i = 0; i < width; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const float inverse = 1.0F / std::sqrt(squares / static_cast<float>(width) + eps);
#pragma omp simd
  for (std::int64_t i = 0; i < width; ++i) x[i] = (x[i] - mean) * inverse;
  if (weight != nullptr) {
#pragma omp simd
    for (std::int64_t i = 0; i < width; ++i) x[i] *= weight[i];
  }
  if (bias != nullptr) {
#pragma omp simd
    for (std::int64_t i = 0; i < width; ++i) x[i] += bias[i];
  }
}

}  // namespace

void activate(RowActivation kind, const Tensor& x, Tensor y) {
  HEADROOM_CHECK(x.elements() == y.elements(), "activate: x {}, y {}", x.shape().text(), y.shape().text());
  const float* from = x.data<float>();
  float* to = y.data<float>();
  with_kind(kind, [&]<class Kind>() {
    cpu::parallel_for(x.elements(), cpu::kElementGrain, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) to[i] = Kind::value(from[i]);
    });
  });
}

void activate_gated(RowActivation kind, const Tensor& gate_up, Tensor y) {
  const std::int64_t width = y.columns();
  HEADROOM_CHECK(gate_up.rows() == y.rows() && gate_up.columns() == 2 * width, "activate_gated: gate_up {}, y {}",
                 gate_up.shape().text(), y.shape().text());
  const float* from = gate_up.data<float>();
  float* to = y.data<float>();
  with_kind(kind, [&]<class Kind>() {
    cpu::parallel_for(y.rows(), cpu::rows_grain(width), [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const float* gate = from + 2 * row * width;
        const float* up = gate + width;
        float* out = to + row * width;
#pragma omp simd
        for (std::int64_t i = 0; i < width; ++i) out[i] = Kind::value(gate[i]) * up[i];
      }
    });
  });
}

void soft_cap(double cap, Tensor x) {
  const auto limit = static_cast<float>(cap);
  const auto inverse = static_cast<float>(1.0 / cap);
  each(x, [=](float value) { return limit * cpu::fast_tanh(value * inverse); });
}

void clamp(double limit, Tensor x) {
  const auto most = static_cast<float>(limit);
  each(x, [=](float value) {
    const float below = value > most ? most : value;
    return below < -most ? -most : below;
  });
}

void scale(double factor, Tensor x) {
  const auto by = static_cast<float>(factor);
  each(x, [=](float value) { return value * by; });
}

void norm_blocks(bool centred, double eps, const Tensor& weight, const Tensor& bias, const ColumnBlocks& columns,
                 Tensor x) {
  HEADROOM_CHECK(columns.first + columns.blocks * columns.width <= x.columns(), "norm_blocks: {} from {} in {}",
                 columns.blocks * columns.width, columns.first, x.shape().text());
  const float* scales = weight.present() ? weight.data<float>() : nullptr;
  const float* shifts = bias.present() ? bias.data<float>() : nullptr;
  float* values = x.data<float>();
  const std::int64_t stride = x.columns();
  cpu::parallel_for(x.rows(), cpu::rows_grain(columns.blocks * columns.width),
                    [=](std::int64_t begin, std::int64_t end) {
                      for (std::int64_t row = begin; row < end; ++row) {
                        float* block = values + row * stride + columns.first;
                        for (std::int64_t i = 0; i < columns.blocks; ++i, block += columns.width) {
                          norm_block(centred, static_cast<float>(eps), scales, shifts, columns.width, block);
                        }
                      }
                    });
}

}  // namespace headroom::host
