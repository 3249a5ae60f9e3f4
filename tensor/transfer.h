// Numbers between the host and a tensor on any device.
#pragma once

#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace headroom {

// to = from, byte by byte; `from` may be changed afterwards. The sizes must agree.
void upload_bytes(std::span<const std::byte> from, const Tensor& to);
template <class T>
void upload(std::span<const T> from, const Tensor& to) {
  HEADROOM_CHECK(dtype_of<T>() == to.dtype(), "{} numbers for a {} tensor", name_of(dtype_of<T>()),
                 name_of(to.dtype()));
  upload_bytes(std::as_bytes(from), to);
}

// Waits for the work on `from` and copies it.
void download_bytes(const Tensor& from, std::span<std::byte> to);
template <class T>
std::vector<T> download(const Tensor& from) {
  HEADROOM_CHECK(dtype_of<T>() == from.dtype(), "a {} tensor read as {}", name_of(from.dtype()),
                 name_of(dtype_of<T>()));
  std::vector<T> numbers(static_cast<std::size_t>(from.elements()));
  download_bytes(from, std::as_writable_bytes(std::span<T>(numbers)));
  return numbers;
}

// The same with a change of format: real numbers of any dtype as `T` (float or double), and back (rounded).
template <class T>
std::vector<T> download_as(const Tensor& from);
template <class T>
void upload_as(std::span<const T> from, const Tensor& to);

}  // namespace headroom
