#include "tensor/widen.h"

#include <bit>

#include "tensor/cpu/parallel_for.h"

namespace headroom {
namespace {

// The exponent is rebased by a multiplication, which makes subnormals normal on the way.
float of_f16(std::uint16_t half) {
  constexpr float kRebase = 0x1p112F;
  constexpr std::uint32_t kInfinity = 0x7c00U << 13;
  const std::uint32_t magnitude = (half & 0x7fffU) << 13;
  const std::uint32_t finite = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) * kRebase);
  const std::uint32_t bits = magnitude >= kInfinity ? magnitude | 0x7f800000U : finite;
  return std::bit_cast<float>(bits | (half & 0x8000U) << 16);
}

template <class From, class Convert>
void convert(const From* from, std::int64_t count, float* to, const Convert& one) {
  cpu::parallel_for(count, cpu::kElementGrain, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) to[i] = one(from[i]);
  });
}

}  // namespace

void widen_f16(const std::uint16_t* from, std::int64_t count, float* to) {
  convert(from, count, to, [](std::uint16_t half) { return of_f16(half); });
}

void widen_bf16(const std::uint16_t* from, std::int64_t count, float* to) {
  convert(from, count, to,
          [](std::uint16_t half) { return std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16); });
}

void narrow_f64(const double* from, std::int64_t count, float* to) {
  convert(from, count, to, [](double number) { return static_cast<float>(number); });
}

}  // namespace headroom
