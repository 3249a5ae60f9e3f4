// What every op's test needs: tensors filled with reproducible numbers, the same numbers as doubles for the plain
// loops that stand for the truth, a comparison, and central finite differences.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "tensor/memory.h"
#include "tensor/ops.h"
#include "tensor/tensor.h"

namespace headroom::reference {

// A tensor with its memory. Converts to Tensor where an op is called.
class HostTensor {
 public:
  // Zeros.
  HostTensor(Shape shape, DType dtype)
      : buffer_(std::max<std::size_t>(1, static_cast<std::size_t>(shape.elements()) * size_of(dtype)), Device::cpu,
                "a test's tensor"),
        tensor_(buffer_.data(), shape, dtype) {}

  // Normal numbers of the given standard deviation, the same for the same name (in f32 rounded).
  static HostTensor random(Shape shape, DType dtype, std::string_view name, double deviation = 1.0) {
    HostTensor result(shape, dtype);
    const RandomStream stream(20250329, name);
    for (std::int64_t i = 0; i < result.elements(); ++i) {
      result.set(i, deviation * stream.normal(static_cast<std::uint64_t>(i)));
    }
    return result;
  }

  // Every element the same.
  static HostTensor filled(Shape shape, DType dtype, double value) {
    HostTensor result(shape, dtype);
    for (std::int64_t i = 0; i < result.elements(); ++i) result.set(i, value);
    return result;
  }

  operator const Tensor&() const { return tensor_; }
  const Tensor& tensor() const { return tensor_; }
  std::int64_t elements() const { return tensor_.elements(); }

  double at(std::int64_t index) const {
    return tensor_.dtype() == DType::f64 ? tensor_.data<double>()[index] : double{tensor_.data<float>()[index]};
  }
  void set(std::int64_t index, double value) {
    if (tensor_.dtype() == DType::f64) {
      tensor_.data<double>()[index] = value;
    } else {
      tensor_.data<float>()[index] = static_cast<float>(value);
    }
  }

  // All elements, row-major, as the op sees them.
  std::vector<double> values() const {
    std::vector<double> result(static_cast<std::size_t>(elements()));
    for (std::int64_t i = 0; i < elements(); ++i) result[static_cast<std::size_t>(i)] = at(i);
    return result;
  }

  HostTensor clone() const {
    HostTensor result(tensor_.shape(), tensor_.dtype());
    for (std::int64_t i = 0; i < elements(); ++i) result.set(i, at(i));
    return result;
  }

 private:
  Buffer buffer_;
  Tensor tensor_;
};

// The relative error an op may have against f64 loops: a few rounding errors of its dtype, for sums of thousands.
inline double tolerance(DType dtype) {
  return dtype == DType::f64 ? 1e-11 : 2e-5;
}

// Every |actual - expected| <= relative * (|expected| + rms(expected)); never true of nothing.
inline void expect_close(const HostTensor& actual, const std::vector<double>& expected, double relative,
                         std::string_view what) {
  ASSERT_FALSE(expected.empty()) << what << ": nothing to compare with";
  ASSERT_EQ(actual.elements(), static_cast<std::int64_t>(expected.size())) << what;
  double squares = 0.0;
  for (const double value : expected) squares += value * value;
  const double rms = std::sqrt(squares / static_cast<double>(expected.size()));
  int shown = 0;
  for (std::size_t i = 0; i < expected.size() && shown < 5; ++i) {
    const double got = actual.at(static_cast<std::int64_t>(i));
    const double allowed = relative * (std::abs(expected[i]) + rms);
    if (!(std::abs(got - expected[i]) <= allowed)) {  // also catches NaN
      ADD_FAILURE() << what << "[" << i << "] = " << got << ", expected " << expected[i] << " +- " << allowed;
      ++shown;
    }
  }
}

inline double dot(const HostTensor& a, const HostTensor& b) {
  double sum = 0.0;
  for (std::int64_t i = 0; i < a.elements(); ++i) sum += a.at(i) * b.at(i);
  return sum;
}

// `gradient` (f64) against central differences of `loss`, which must read `x` (f64) anew at every call. Restores x.
// At most about 200 elements, evenly spread, are probed.
inline void expect_gradient(const std::function<double()>& loss, HostTensor& x, const HostTensor& gradient,
                            std::string_view what, double step = 1e-5, double relative = 1e-6) {
  ASSERT_EQ(x.tensor().dtype(), DType::f64) << what << ": finite differences need f64";
  ASSERT_EQ(x.elements(), gradient.elements()) << what;
  ASSERT_GT(x.elements(), 0) << what;
  double largest = 0.0;
  for (const double value : gradient.values()) largest = std::max(largest, std::abs(value));
  const std::int64_t stride = x.elements() / 200 + 1;
  for (std::int64_t i = 0; i < x.elements(); i += stride) {
    const double saved = x.at(i);
    x.set(i, saved + step);
    const double above = loss();
    x.set(i, saved - step);
    const double below = loss();
    x.set(i, saved);
    const double expected = (above - below) / (2.0 * step);
    ASSERT_NEAR(gradient.at(i), expected, relative * (largest + std::abs(expected)) + 1e-9) << what << "[" << i << "]";
  }
}

// Test suites that run once in f32 and once in f64:
//   class Dense : public OverDtypes {};
//   HEADROOM_OVER_DTYPES(Dense);
//   TEST_P(Dense, AddsRows) { ... dtype() ... }
class OverDtypes : public ::testing::TestWithParam<DType> {
 protected:
  DType dtype() const { return GetParam(); }
  HostTensor zeros(Shape shape) const { return {shape, dtype()}; }
  HostTensor random(Shape shape, std::string_view name, double deviation = 1.0) const {
    return HostTensor::random(shape, dtype(), name, deviation);
  }
};

#define HEADROOM_OVER_DTYPES(suite)                                                                              \
  INSTANTIATE_TEST_SUITE_P(EveryDtype, suite, ::testing::Values(::headroom::DType::f32, ::headroom::DType::f64), \
                           [](const auto& tested) { return std::string(::headroom::name_of(tested.param)); })

}  // namespace headroom::reference
