#include "tensor/tensor.h"

namespace headroom {

Shape::Shape(std::initializer_list<std::int64_t> extents) : rank_(static_cast<int>(extents.size())) {
  HEADROOM_CHECK(extents.size() <= extents_.size(), "a shape of {} axes; at most four are supported", extents.size());
  std::size_t axis = 0;
  for (const std::int64_t extent : extents) {
    HEADROOM_CHECK(extent >= 0, "extent {} of axis {} is negative", extent, axis);
    extents_[axis++] = extent;
  }
}

std::int64_t Shape::elements() const {
  std::int64_t product = 1;
  for (int axis = 0; axis < rank_; ++axis) product *= (*this)[axis];
  return product;
}

std::string Shape::text() const {
  std::string extents;
  for (int axis = 0; axis < rank_; ++axis) {
    extents += fmt::format("{}{}", axis == 0 ? "" : ", ", (*this)[axis]);
  }
  return fmt::format("[{}]", extents);
}

Tensor Tensor::reshaped(Shape shape) const {
  HEADROOM_CHECK(shape.elements() == elements(), "{} does not hold as many elements as {}", shape.text(),
                 shape_.text());
  return Tensor(data_, shape, dtype_, device_);
}

Tensor Tensor::row_range(std::int64_t begin, std::int64_t count) const {
  HEADROOM_CHECK(begin >= 0 && count >= 0 && begin + count <= rows(), "rows [{}, {}) of {}", begin, begin + count,
                 shape_.text());
  auto* first = static_cast<std::byte*>(data_) + begin * columns() * static_cast<std::int64_t>(size_of(dtype_));
  return Tensor(first, {count, columns()}, dtype_, device_);
}

Tensor Tensor::flat_range(std::int64_t begin, std::int64_t count) const {
  HEADROOM_CHECK(begin >= 0 && count >= 0 && begin + count <= elements(), "elements [{}, {}) of {}", begin,
                 begin + count, shape_.text());
  auto* first = static_cast<std::byte*>(data_) + begin * static_cast<std::int64_t>(size_of(dtype_));
  return Tensor(first, {count}, dtype_, device_);
}

}  // namespace headroom
