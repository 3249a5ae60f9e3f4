// Number formats of tensors. Models compute in f32, in bf16 (on a GPU), or in f64, which exists so that every
// derivative can be checked where rounding does not blur it. The integers are for token ids, tables and counts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tensor/bf16.h"

namespace headroom {

enum class DType : std::uint8_t { f32, f64, bf16, i32, i64 };

constexpr std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::bf16:
      return 2;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f64:
    case DType::i64:
      return 8;
  }
  return 0;
}
constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::f64:
      return "f64";
    case DType::bf16:
      return "bf16";
    case DType::i32:
      return "i32";
    case DType::i64:
      return "i64";
  }
  return "unknown";
}

// What is added up of numbers of a dtype, and kept of them in few numbers, has room for the sum: gradients of
// parameters, a row's mean, log-sum-exp.
constexpr DType accumulator_of(DType dtype) {
  return dtype == DType::bf16 ? DType::f32 : dtype;
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
template <>
constexpr DType dtype_of<bf16>() {
  return DType::bf16;
}
template <>
constexpr DType dtype_of<std::int32_t>() {
  return DType::i32;
}
template <>
constexpr DType dtype_of<std::int64_t>() {
  return DType::i64;
}

}  // namespace headroom
