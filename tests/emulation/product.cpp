// Stands in for cuBLASLt where there is no GPU: tensor/cuda/product.h as loops, so that what tensor/cuda/linear.cpp
// makes of products runs everywhere.
#include "tensor/cuda/product.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "tensor/cuda/parts.h"
#include "tests/emulation/device_memory.h"
#include "tests/emulation/streams.h"

namespace headroom::cuda {
namespace {

float at(const void* numbers, DType dtype, std::int64_t index) {
  return dtype == DType::bf16 ? float{static_cast<const bf16*>(numbers)[index]}
                              : static_cast<const float*>(numbers)[index];
}
void store(void* numbers, DType dtype, std::int64_t index, float value) {
  if (dtype == DType::bf16) {
    static_cast<bf16*>(numbers)[index] = bf16(value);
  } else {
    static_cast<float*>(numbers)[index] = value;
  }
}

// op(x) [rows, columns] in f32, row-major.
std::vector<float> unpacked(const void* x, DType dtype, bool transposed, std::int64_t rows, std::int64_t columns) {
  std::vector<float> numbers(static_cast<std::size_t>(rows * columns));
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) {
      numbers[static_cast<std::size_t>(row * columns + column)] =
          at(x, dtype, transposed ? column * rows + row : row * columns + column);
    }
  }
  return numbers;
}

// gelu_tanh and its derivative (Hendrycks & Gimpel 2016).
constexpr float kA = 0.7978845608F;
constexpr float kB = 0.044715F;
float gelu(float x) {
  return 0.5F * x * (1.0F + std::tanh(kA * (x + kB * x * x * x)));
}
float gelu_derivative(float x) {
  const float t = std::tanh(kA * (x + kB * x * x * x));
  return 0.5F * (1.0F + t) + 0.5F * x * (1.0F - t * t) * kA * (1.0F + 3.0F * kB * x * x);
}

// The library refuses operands that are not where it may read them.
void expect_device(const void* memory, std::int64_t elements, DType dtype) {
  HEADROOM_CHECK(
      emulation::range_of(memory, static_cast<std::size_t>(elements) * size_of(dtype)) == emulation::Range::device,
      "a product's operand of {} elements of {} is not in device memory", elements, name_of(dtype));
}

void compute(const Product& product) {
  const auto [m, n, k] = std::tuple{product.m, product.n, product.k};
  const std::vector<float> a = unpacked(product.a, product.input, product.transpose_a == Transpose::yes, m, k);
  const std::vector<float> b = unpacked(product.b, product.input, product.transpose_b == Transpose::yes, k, n);
  std::vector<float> sums(static_cast<std::size_t>(n));
  for (std::int64_t row = 0; row < m; ++row) {
    std::fill(sums.begin(), sums.end(), 0.0F);
    for (std::int64_t i = 0; i < k; ++i) {
      const float factor = a[static_cast<std::size_t>(row * k + i)];
      const float* const b_row = b.data() + i * n;
      for (std::int64_t column = 0; column < n; ++column)
        sums[static_cast<std::size_t>(column)] += factor * b_row[column];
    }
    for (std::int64_t column = 0; column < n; ++column) {
      const std::int64_t place = row * n + column;
      float value = product.alpha * sums[static_cast<std::size_t>(column)];
      if (product.beta != 0.0F) value += product.beta * at(product.c, product.output, place);
      if (product.epilogue == Epilogue::bias || product.epilogue == Epilogue::bias_gelu) {
        value += at(product.bias, product.output, column);
      }
      if (product.epilogue == Epilogue::gelu || product.epilogue == Epilogue::bias_gelu) {
        store(product.inner, product.output, place, value);
        value = gelu(value);
      }
      if (product.epilogue == Epilogue::gelu_derivative) {
        value *= gelu_derivative(at(product.inner, product.output, place));
      }
      store(product.c, product.output, place, value);
    }
  }
}

std::string emulation_part() {
  return "emulated device: kernels run on the CPU";
}
[[maybe_unused]] const bool listed = add_part(emulation_part);

}  // namespace

bool try_product(const Product& product, void* workspace) {
  const auto [m, n, k] = std::tuple{product.m, product.n, product.k};
  // cuBLASLt has its epilogues for even shapes only, more or less; odd ones try the other way.
  if (product.epilogue != Epilogue::none && n % 2 != 0) return false;
  HEADROOM_CHECK(m > 0 && n > 0 && k > 0, "a product of m {}, n {}, k {}", m, n, k);
  expect_device(product.a, m * k, product.input);
  expect_device(product.b, k * n, product.input);
  expect_device(product.c, m * n, product.output);
  if (product.bias != nullptr) expect_device(product.bias, n, product.output);
  if (product.inner != nullptr) expect_device(product.inner, m * n, product.output);
  expect_device(workspace, static_cast<std::int64_t>(product_workspace_bytes() / sizeof(float)), DType::f32);
  emulation::submit(stream(), [product] { compute(product); });
  return true;
}

std::size_t product_workspace_bytes() {
  return std::size_t{1} << 16;
}

}  // namespace headroom::cuda
