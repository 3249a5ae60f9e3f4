// bfloat16: the upper half of a float32. Storage only; arithmetic is done in float32. The same type on every device.
#pragma once

#include <bit>
#include <cstdint>

#ifdef __CUDACC__
#define HEADROOM_HOST_DEVICE __host__ __device__
#else
#define HEADROOM_HOST_DEVICE
#endif

namespace headroom {

struct bf16 {  // NOLINT(readability-identifier-naming): a number like float, named as the field names it
  std::uint16_t bits = 0;

  bf16() = default;
  // Rounds to nearest, ties to even; a NaN stays a NaN.
  HEADROOM_HOST_DEVICE explicit bf16(float value) {
#ifdef __CUDA_ARCH__
    // One instruction, where the same in integers would bound kernels that memory should.
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#else
    const auto wide = std::bit_cast<std::uint32_t>(value);
    const bool nan = (wide & 0x7fffffffU) > 0x7f800000U;
    const std::uint32_t rounded = wide + 0x7fffU + ((wide >> 16) & 1U);
    bits = static_cast<std::uint16_t>(nan ? (wide >> 16) | 0x40U : rounded >> 16);
#endif
  }
  HEADROOM_HOST_DEVICE operator float() const {
    return std::bit_cast<float>(std::uint32_t{bits} << 16);
  }
};
static_assert(sizeof(bf16) == 2);

}  // namespace headroom
