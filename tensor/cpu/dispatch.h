// From a tensor's dtype to the C++ type its kernel is instantiated with, and the checks every op makes first.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "tensor/tensor.h"

namespace headroom::cpu {

// Calls `kernel.template operator()<float>()` or `<double>()`:
//   dispatch(x.dtype(), [&]<class T>() { add_kernel(x.data<T>(), y.data<T>()); });
template <class Kernel>
auto dispatch(DType dtype, Kernel&& kernel) {
  if (dtype == DType::f64) return kernel.template operator()<double>();
  return kernel.template operator()<float>();
}

// Fails naming `op` unless every present tensor has the first one's dtype. Absent tensors are skipped.
template <class... Rest>
void check_same_dtype(std::string_view op, const Tensor& first, const Rest&... rest) {
  [[maybe_unused]] const auto check = [&](const Tensor& other) {
    HEADROOM_CHECK(!other.present() || other.dtype() == first.dtype(), "{}: {} and {} tensors in one call", op,
                   name_of(first.dtype()), name_of(other.dtype()));
  };
  (check(rest), ...);
}

// Fails naming `op` and `what` unless the tensor holds exactly `elements` numbers.
inline void check_elements(std::string_view op, std::string_view what, const Tensor& tensor, std::int64_t elements) {
  HEADROOM_CHECK(tensor.present() || elements == 0, "{}: {} is absent", op, what);
  HEADROOM_CHECK(tensor.elements() == elements, "{}: {} has shape {}, expected {} elements", op, what,
                 tensor.shape().text(), elements);
}

}  // namespace headroom::cpu
