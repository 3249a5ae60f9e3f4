// Number formats of tensors. f64 exists so that every derivative can be checked where rounding does not blur it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace headroom {

enum class DType : std::uint8_t { f32, f64 };

constexpr std::size_t size_of(DType dtype) {
  return dtype == DType::f64 ? 8 : 4;
}
constexpr std::string_view name_of(DType dtype) {
  return dtype == DType::f64 ? "f64" : "f32";
}

template <class T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<float>() {
  return DType::f32;
}
template <>
constexpr DType dtype_of<double>() {
  return DType::f64;
}

}  // namespace headroom
