// From a tensor's dtype to the C++ type its kernel is instantiated with, and the checks every op makes first.
#pragma once

#include <string_view>

#include "tensor/tensor.h"

namespace headroom::cuda {

// Calls `kernel.template operator()<float>()` or `<bf16>()`:
//   dispatch("add", x.dtype(), [&]<class T>() { launch("add", add_kernel<T>, grid, x.address<T>(), ...); });
template <class Kernel>
auto dispatch(std::string_view op, DType dtype, Kernel&& kernel) {
  HEADROOM_CHECK(dtype == DType::f32 || dtype == DType::bf16, "{}: a GPU computes in f32 and bf16, not in {}", op,
                 name_of(dtype));
  if (dtype == DType::bf16) return kernel.template operator()<bf16>();
  return kernel.template operator()<float>();
}

// Fails naming `op` and `what` unless the tensor has this dtype and exactly `elements` numbers.
inline void expect(std::string_view op, std::string_view what, const Tensor& tensor, DType dtype,
                   std::int64_t elements) {
  HEADROOM_CHECK(tensor.present() || elements == 0, "{}: {} is absent", op, what);
  HEADROOM_CHECK(tensor.dtype() == dtype && tensor.elements() == elements,
                 "{}: {} is {} {}, expected {} elements of {}", op, what, name_of(tensor.dtype()),
                 tensor.shape().text(), elements, name_of(dtype));
}

// The address of a tensor that may be absent: null then.
template <class T>
T* address_or_null(const Tensor& tensor) {
  return tensor.present() ? tensor.address<T>() : nullptr;
}

}  // namespace headroom::cuda
