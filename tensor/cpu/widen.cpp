#include "tensor/widen.h"

#include <bit>

#include "tensor/bf16.h"
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

std::uint16_t to_f16(float value) {
  constexpr std::uint32_t kInfinity = 0x7f800000U;
  constexpr std::uint32_t kSmallestNormal = 0x38800000U;  // 2^-14
  constexpr std::uint32_t kTooLarge = 0x477ff000U;        // 65520, half way to what would follow the largest
  constexpr std::uint32_t kRebase = 112U << 23;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 16 & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  // The last bit of 0.5 is the unit of f16's subnormals, 2^-24: the sum rounds to it.
  const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
  const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(0.5F);
  const std::uint32_t normal = (magnitude - kRebase + 0xfffU + (magnitude >> 13 & 1U)) >> 13;
  const std::uint32_t half = magnitude > kInfinity         ? 0x7e00U
                             : magnitude >= kTooLarge      ? 0x7c00U
                             : magnitude < kSmallestNormal ? subnormal
                                                           : normal;
  return static_cast<std::uint16_t>(sign | half);
}

template <class From, class To, class Convert>
void convert(const From* from, std::int64_t count, To* to, const Convert& one) {
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

void narrow_f16(const float* from, std::int64_t count, std::uint16_t* to) {
  convert(from, count, to, [](float number) { return to_f16(number); });
}

void narrow_bf16(const float* from, std::int64_t count, std::uint16_t* to) {
  convert(from, count, to, [](float number) { return bf16(number).bits; });
}

}  // namespace headroom
