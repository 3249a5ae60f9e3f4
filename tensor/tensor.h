// A tensor is a view: where the numbers lie, their format and their shape. It owns nothing, copies like a pointer,
// and is always contiguous, row-major. Memory belongs to a Buffer or an Arena (tensor/memory.h).
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "base/error.h"
#include "tensor/dtype.h"

namespace headroom {

// Where a tensor's memory is and which table of operations works on it.
enum class Device : std::uint8_t { cpu, cuda };

constexpr std::string_view name_of(Device device) {
  return device == Device::cpu ? "cpu" : "cuda";
}

// Up to four extents.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents);

  int rank() const { return rank_; }
  std::int64_t operator[](int axis) const { return extents_[static_cast<std::size_t>(axis)]; }
  std::int64_t elements() const;
  bool operator==(const Shape&) const = default;
  std::string text() const;  // "[8, 256, 384]"

 private:
  std::array<std::int64_t, 4> extents_{};
  int rank_ = 0;
};

class Tensor {
 public:
  Tensor() = default;  // the absent tensor: an optional argument that is not given
  Tensor(void* data, Shape shape, DType dtype, Device device = Device::cpu)
      : data_(data), shape_(shape), dtype_(dtype), device_(device) {}

  // A view of host numbers the caller keeps alive.
  template <class T>
  static Tensor over(std::span<T> values, Shape shape) {
    HEADROOM_CHECK(shape.elements() == static_cast<std::int64_t>(values.size()), "{} numbers for shape {}",
                   values.size(), shape.text());
    return Tensor(values.data(), shape, dtype_of<T>());
  }

  bool present() const { return data_ != nullptr; }
  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  std::int64_t elements() const { return shape_.elements(); }
  std::int64_t bytes() const { return elements() * static_cast<std::int64_t>(size_of(dtype_)); }

  // As a matrix: the last axis is the columns, all others together the rows.
  std::int64_t columns() const { return shape_.rank() == 0 ? 1 : shape_[shape_.rank() - 1]; }
  std::int64_t rows() const { return columns() == 0 ? 0 : elements() / columns(); }

  void* raw() const { return data_; }

  // The numbers in host memory; T must be the dtype's C++ type. Those of a GPU: see tensor/transfer.h.
  template <class T>
  T* data() const {
    HEADROOM_CHECK(device_ == Device::cpu || data_ == nullptr, "a tensor {} on a GPU read as host memory",
                   shape_.text());
    return address<T>();
  }
  // Where the numbers are on their device, for the code that runs there.
  template <class T>
  T* address() const {
    HEADROOM_CHECK(dtype_of<T>() == dtype_, "a {} tensor read as {}", name_of(dtype_), name_of(dtype_of<T>()));
    return static_cast<T*>(data_);
  }
  template <class T>
  std::span<T> span() const {
    return {data<T>(), static_cast<std::size_t>(elements())};
  }

  // The same numbers under another shape of as many elements.
  Tensor reshaped(Shape shape) const;

  // Rows [begin, begin + count) of the matrix view, shape [count, columns].
  Tensor row_range(std::int64_t begin, std::int64_t count) const;

  // `count` elements from `begin` on, shape [count].
  Tensor flat_range(std::int64_t begin, std::int64_t count) const;

 private:
  void* data_ = nullptr;
  Shape shape_;
  DType dtype_ = DType::f32;
  Device device_ = Device::cpu;
};

}  // namespace headroom
