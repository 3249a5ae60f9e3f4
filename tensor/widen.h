// Numbers of narrower formats as f32, and back.
#pragma once

#include <cstdint>

namespace headroom {

// from [count] -> to [count]. Exact, subnormals, infinities and NaNs included; f64 is rounded to nearest. On all
// threads.
void widen_f16(const std::uint16_t* from, std::int64_t count, float* to);
void widen_bf16(const std::uint16_t* from, std::int64_t count, float* to);
void narrow_f64(const double* from, std::int64_t count, float* to);

// Rounded to nearest, ties to even; beyond f16's largest number is infinity, a NaN stays one.
void narrow_f16(const float* from, std::int64_t count, std::uint16_t* to);
void narrow_bf16(const float* from, std::int64_t count, std::uint16_t* to);

}  // namespace headroom
