// CUDA's functions on numbers that C++ has not, or has only in namespace std.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

// glibc declares some of these names for its own use, so ours come in by macros.
namespace headroom::emulation {
inline float fast_exp(float x) {
  return std::exp(x);
}
inline float fast_log(float x) {
  return std::log(x);
}
inline float fast_log2(float x) {
  return std::log2(x);
}
inline float fast_pow(float x, float y) {
  return std::pow(x, y);
}
inline float fast_sin(float x) {
  return std::sin(x);
}
inline float fast_cos(float x) {
  return std::cos(x);
}
}  // namespace headroom::emulation
#define __expf(x) (::headroom::emulation::fast_exp(x))
#define __logf(x) (::headroom::emulation::fast_log(x))
#define __log2f(x) (::headroom::emulation::fast_log2(x))
#define __powf(x, y) (::headroom::emulation::fast_pow(x, y))
#define __sinf(x) (::headroom::emulation::fast_sin(x))
#define __cosf(x) (::headroom::emulation::fast_cos(x))

inline float rsqrtf(float x) {
  return 1.0F / std::sqrt(x);
}
inline double rsqrt(double x) {
  return 1.0 / std::sqrt(x);
}
inline float __fdividef(float x, float y) {
  return x / y;
}
inline float fdividef(float x, float y) {
  return x / y;
}
inline float __frcp_rn(float x) {
  return 1.0F / x;
}
inline float __fsqrt_rn(float x) {
  return std::sqrt(x);
}
inline float __frsqrt_rn(float x) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(x)));
}
inline float __fadd_rn(float x, float y) {
  return x + y;
}
inline float __fsub_rn(float x, float y) {
  return x - y;
}
inline float __fmul_rn(float x, float y) {
  return x * y;
}
inline float __fdiv_rn(float x, float y) {
  return x / y;
}
inline float __fmaf_rn(float x, float y, float z) {
  return std::fma(x, y, z);
}
inline float __saturatef(float x) {
  return x > 0.0F ? (x < 1.0F ? x : 1.0F) : 0.0F;
}

inline int __float2int_rn(float x) {
  return static_cast<int>(std::nearbyint(x));
}
inline int __float2int_rd(float x) {
  return static_cast<int>(std::floor(x));
}
inline float __int2float_rn(int x) {
  return static_cast<float>(x);
}
inline float __uint2float_rn(unsigned x) {
  return static_cast<float>(x);
}
inline float __double2float_rn(double x) {
  return static_cast<float>(x);
}

inline unsigned __float_as_uint(float x) {
  return std::bit_cast<unsigned>(x);
}
inline int __float_as_int(float x) {
  return std::bit_cast<int>(x);
}
inline float __uint_as_float(unsigned x) {
  return std::bit_cast<float>(x);
}
inline float __int_as_float(int x) {
  return std::bit_cast<float>(x);
}
inline long long __double_as_longlong(double x) {
  return std::bit_cast<long long>(x);
}
inline double __longlong_as_double(long long x) {
  return std::bit_cast<double>(x);
}

inline int __popc(unsigned x) {
  return std::popcount(x);
}
inline int __popcll(unsigned long long x) {
  return std::popcount(x);
}
inline int __clz(int x) {
  return std::countl_zero(static_cast<unsigned>(x));
}
inline int __clzll(long long x) {
  return std::countl_zero(static_cast<unsigned long long>(x));
}
inline int __ffs(int x) {
  return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1;
}
inline unsigned __umulhi(unsigned x, unsigned y) {
  return static_cast<unsigned>((std::uint64_t{x} * y) >> 32);
}

// Loads and stores with hints for the caches.
#define HEADROOM_LOAD(name) \
  template <class T>        \
  T name(const T* from) {   \
    return *from;           \
  }
#define HEADROOM_STORE(name)  \
  template <class T>          \
  void name(T* to, T value) { \
    *to = value;              \
  }
HEADROOM_LOAD(__ldg)
HEADROOM_LOAD(__ldca)
HEADROOM_LOAD(__ldcg)
HEADROOM_LOAD(__ldcs)
HEADROOM_LOAD(__ldlu)
HEADROOM_LOAD(__ldcv)
HEADROOM_STORE(__stwb)
HEADROOM_STORE(__stcg)
HEADROOM_STORE(__stcs)
HEADROOM_STORE(__stwt)
#undef HEADROOM_LOAD
#undef HEADROOM_STORE

#define HEADROOM_MIN_MAX(type)         \
  constexpr type min(type a, type b) { \
    return b < a ? b : a;              \
  }                                    \
  constexpr type max(type a, type b) { \
    return a < b ? b : a;              \
  }
HEADROOM_MIN_MAX(int)
HEADROOM_MIN_MAX(unsigned)
HEADROOM_MIN_MAX(long)
HEADROOM_MIN_MAX(unsigned long)
HEADROOM_MIN_MAX(long long)
HEADROOM_MIN_MAX(unsigned long long)
#undef HEADROOM_MIN_MAX
// Of a NaN and a number, the number.
inline float min(float a, float b) {
  return std::fmin(a, b);
}
inline float max(float a, float b) {
  return std::fmax(a, b);
}
inline double min(double a, double b) {
  return std::fmin(a, b);
}
inline double max(double a, double b) {
  return std::fmax(a, b);
}
