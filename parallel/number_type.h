// What the numbers of a collective are: those of tensors, and the integers of bookkeeping.
#pragma once

#include <cstdint>
#include <string_view>

#include "tensor/dtype.h"

namespace headroom {

enum class NumberType : std::uint8_t { f32, f64, i64 };

constexpr NumberType number_type(DType dtype) {
  return dtype == DType::f64 ? NumberType::f64 : NumberType::f32;
}
constexpr std::int64_t size_of(NumberType type) {
  return type == NumberType::f32 ? 4 : 8;
}
constexpr std::string_view name_of(NumberType type) {
  switch (type) {
    case NumberType::f32:
      return "f32";
    case NumberType::f64:
      return "f64";
    case NumberType::i64:
      return "i64";
  }
  return "unknown";
}

}  // namespace headroom
