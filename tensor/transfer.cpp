#include "tensor/transfer.h"

#include <algorithm>
#include <cstring>

#include "tensor/backend.h"

namespace headroom {
namespace {

template <class To, class From>
std::vector<To> converted(std::span<const From> from) {
  std::vector<To> to(from.size());
  // By way of float where a bf16 is on either side: it converts to and from nothing else.
  std::transform(from.begin(), from.end(), to.begin(), [](From value) {
    if constexpr (std::is_same_v<From, bf16>) {
      return static_cast<To>(static_cast<float>(value));
    } else if constexpr (std::is_same_v<To, bf16>) {
      return bf16(static_cast<float>(value));
    } else {
      return static_cast<To>(value);
    }
  });
  return to;
}

}  // namespace

void upload_bytes(std::span<const std::byte> from, const Tensor& to) {
  HEADROOM_CHECK(static_cast<std::int64_t>(from.size()) == to.bytes(), "{} bytes for a tensor of {}", from.size(),
                 to.bytes());
  if (from.empty()) return;
  backend(to.device()).upload(from.data(), to.raw(), from.size());
}

void download_bytes(const Tensor& from, std::span<std::byte> to) {
  HEADROOM_CHECK(static_cast<std::int64_t>(to.size()) == from.bytes(), "a tensor of {} bytes into {}", from.bytes(),
                 to.size());
  if (to.empty()) return;
  backend(from.device()).download(from.raw(), to.data(), to.size());
}

template <class T>
std::vector<T> download_as(const Tensor& from) {
  if (from.dtype() == dtype_of<T>()) return download<T>(from);
  if (from.dtype() == DType::bf16) return converted<T>(std::span<const bf16>(download<bf16>(from)));
  if (from.dtype() == DType::f32) return converted<T>(std::span<const float>(download<float>(from)));
  return converted<T>(std::span<const double>(download<double>(from)));
}

template <class T>
void upload_as(std::span<const T> from, const Tensor& to) {
  if (to.dtype() == dtype_of<T>()) return upload(from, to);
  if (to.dtype() == DType::bf16) return upload(std::span<const bf16>(converted<bf16>(from)), to);
  if (to.dtype() == DType::f32) return upload(std::span<const float>(converted<float>(from)), to);
  upload(std::span<const double>(converted<double>(from)), to);
}

template std::vector<float> download_as(const Tensor& from);
template std::vector<double> download_as(const Tensor& from);
template void upload_as(std::span<const float> from, const Tensor& to);
template void upload_as(std::span<const double> from, const Tensor& to);

}  // namespace headroom
