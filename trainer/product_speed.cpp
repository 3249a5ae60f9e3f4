#include "trainer/product_speed.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "base/stopwatch.h"
#include "tensor/backend.h"
#include "tensor/memory.h"
#include "tensor/ops.h"
#include "tensor/transfer.h"

namespace headroom {

double product_speed(Device device) {
  constexpr double kRoundSeconds = 0.02;
  constexpr double kEnoughSeconds = 0.2;
  const std::int64_t size = device == Device::cuda ? 2048 : 512;
  const DType dtype = device == Device::cuda ? DType::bf16 : DType::f32;
  const Shape shape{size, size};
  const auto bytes = static_cast<std::size_t>(size * size) * size_of(dtype);
  const Buffer memory(3 * bytes, device, "the preflight's product");
  const Tensor all = memory.tensor({3, size, size}, dtype);
  const Tensor a = all.row_range(0, size).reshaped(shape);
  const Tensor b = all.row_range(size, size).reshaped(shape);
  const Tensor c = all.row_range(2 * size, size).reshaped(shape);
  std::vector<float> numbers(static_cast<std::size_t>(size * size));
  std::uint32_t state = 1;
  for (float& number : numbers) {  // zeros would let a GPU run faster than it does in earnest
    state = state * 1664525U + 1013904223U;
    number = static_cast<float>(state >> 8) * 0x1p-24F - 0.5F;
  }
  upload_as(std::span<const float>(numbers), a);
  upload_as(std::span<const float>(numbers), b);
  const auto seconds_of = [&](int products) {
    const Stopwatch watch;
    for (int i = 0; i < products; ++i) ops::matmul(a, Transpose::no, b, Transpose::no, c, 1.0, 0.0);
    backend(device).synchronize();
    return watch.seconds();
  };
  seconds_of(1);  // makes ready
  const int products = std::max(1, static_cast<int>(std::min(1000.0, kRoundSeconds / seconds_of(1))));
  double shortest = std::numeric_limits<double>::infinity();
  const Stopwatch watch;
  do {
    shortest = std::min(shortest, seconds_of(products));
  } while (watch.seconds() < kEnoughSeconds);
  return 2.0 * products * std::pow(static_cast<double>(size), 3.0) / shortest;
}

}  // namespace headroom
