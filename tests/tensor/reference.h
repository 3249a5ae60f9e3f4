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
#include "tensor/backend.h"
#include "tensor/memory.h"
#include "tensor/ops.h"
#include "tensor/tensor.h"
#include "tensor/transfer.h"
#include "tests/needs_gpu.h"

namespace headroom::reference {

// Where an op is tested: a device and the dtype it computes in.
struct Place {
  Device device = Device::cpu;
  DType dtype = DType::f32;

  std::string name() const { return std::string(name_of(device)) + "_" + std::string(name_of(dtype)); }
  DType wide() const { return accumulator_of(dtype); }
};
inline void PrintTo(const Place& place, std::ostream* out) {
  *out << place.name();
}

inline constexpr Place kCpuF32{Device::cpu, DType::f32};
inline constexpr Place kCpuF64{Device::cpu, DType::f64};
inline constexpr Place kGpuF32{Device::cuda, DType::f32};
inline constexpr Place kGpuBf16{Device::cuda, DType::bf16};

inline constexpr Place kPlaces[] = {kCpuF32, kCpuF64, kGpuF32, kGpuBf16};

// For a test at a place: on a GPU's see HEADROOM_NEEDS_GPU. The suite's own runs always have one: the emulated device
// (tests/emulation), where there is no real one.
#define HEADROOM_NEEDS(place)                       \
  if ((place).device == ::headroom::Device::cuda) { \
    HEADROOM_NEEDS_GPU();                           \
  }                                                 \
  static_assert(true, "wants a semicolon")

// A tensor with its memory, at a place, and a copy on the host through which a test reads and writes it. Converts to
// Tensor where an op is called; what the op may have written is fetched when it is next looked at.
class TestTensor {
 public:
  // Zeros. `dtype` may differ from the place's.
  TestTensor(Shape shape, DType dtype, Device device = Device::cpu)
      : buffer_(std::max<std::size_t>(1, static_cast<std::size_t>(shape.elements()) * size_of(dtype)), device,
                "a test's tensor"),
        tensor_(buffer_.data(), shape, dtype, device),
        mirror_(static_cast<std::size_t>(shape.elements()), 0.0) {}
  TestTensor(Shape shape, const Place& place) : TestTensor(shape, place.dtype, place.device) {}

  // Normal numbers of the given standard deviation, the same for the same name (rounded to the dtype).
  static TestTensor random(Shape shape, const Place& place, std::string_view name, double deviation = 1.0) {
    TestTensor result(shape, place);
    const RandomStream stream(20250329, name);
    for (std::int64_t i = 0; i < result.elements(); ++i) {
      result.set(i, deviation * stream.normal(static_cast<std::uint64_t>(i)));
    }
    return result;
  }
  static TestTensor random(Shape shape, DType dtype, std::string_view name, double deviation = 1.0) {
    return random(shape, Place{Device::cpu, dtype}, name, deviation);
  }

  // Every element the same.
  static TestTensor filled(Shape shape, const Place& place, double value) {
    TestTensor result(shape, place);
    for (std::int64_t i = 0; i < result.elements(); ++i) result.set(i, value);
    return result;
  }
  static TestTensor filled(Shape shape, DType dtype, double value) {
    return filled(shape, Place{Device::cpu, dtype}, value);
  }

  // Integers (token ids, tables).
  static TestTensor integers(const std::vector<std::int32_t>& values, const Place& place) {
    TestTensor result({static_cast<std::int64_t>(values.size())}, DType::i32, place.device);
    for (std::size_t i = 0; i < values.size(); ++i) result.set(static_cast<std::int64_t>(i), values[i]);
    return result;
  }

  // The tensor for an op to read or write.
  operator const Tensor&() const { return tensor(); }
  const Tensor& tensor() const {
    if (changed_here_) write_back();
    fetched_ = false;
    return tensor_;
  }
  const Shape& shape() const { return tensor_.shape(); }
  DType dtype() const { return tensor_.dtype(); }
  std::int64_t elements() const { return tensor_.elements(); }

  double at(std::int64_t index) const {
    fetch();
    return mirror_[static_cast<std::size_t>(index)];
  }
  void set(std::int64_t index, double value) {
    fetch();
    mirror_[static_cast<std::size_t>(index)] = rounded(value);
    changed_here_ = true;
  }

  // All elements, row-major, as the op sees them.
  std::vector<double> values() const {
    fetch();
    return mirror_;
  }

  TestTensor clone() const {
    TestTensor result(tensor_.shape(), tensor_.dtype(), tensor_.device());
    result.mirror_ = values();
    result.changed_here_ = true;
    return result;
  }

 private:
  double rounded(double value) const {
    switch (dtype()) {
      case DType::f32:
        return double{static_cast<float>(value)};
      case DType::bf16:
        return double{static_cast<float>(bf16(static_cast<float>(value)))};
      default:
        return value;
    }
  }
  void fetch() const {
    if (fetched_) return;
    if (dtype() == DType::i32) {
      const auto numbers = download<std::int32_t>(tensor_);
      mirror_.assign(numbers.begin(), numbers.end());
    } else {
      mirror_ = download_as<double>(tensor_);
    }
    fetched_ = true;
  }
  void write_back() const {
    if (dtype() == DType::i32) {
      const std::vector<std::int32_t> numbers(mirror_.begin(), mirror_.end());
      upload(std::span<const std::int32_t>(numbers), tensor_);
    } else {
      upload_as(std::span<const double>(mirror_), tensor_);
    }
    changed_here_ = false;
  }

  Buffer buffer_;
  Tensor tensor_;
  mutable std::vector<double> mirror_;
  mutable bool fetched_ = true;        // the mirror holds what the tensor does, or newer
  mutable bool changed_here_ = false;  // the mirror is newer
};

// A summary of magnitudes on a device.
class Summary {
 public:
  explicit Summary(Device device)
      : buffer_(MagnitudeSummary::kWords * sizeof(std::int64_t), device, "a test's summary"),
        words_(buffer_.tensor({1, MagnitudeSummary::kWords}, DType::i64)) {}

  Magnitudes target(std::int64_t first_row) const { return {words_, first_row}; }
  // Of tensors with so many columns.
  MagnitudeSummary read(std::int64_t columns) const {
    MagnitudeSummary summary;
    ops::read_summaries(words_, columns, std::span<MagnitudeSummary>(&summary, 1));
    return summary;
  }

 private:
  Buffer buffer_;
  Tensor words_;
};

// The relative error a result may have against f64 loops: a few rounding errors of its dtype, for sums of thousands.
inline double tolerance(DType dtype) {
  if (dtype == DType::bf16) return 1e-2;
  return dtype == DType::f64 ? 1e-11 : 2e-5;
}

// Every |actual - expected| <= relative * (|expected| + rms(expected)); never true of nothing.
inline void expect_close(const TestTensor& actual, const std::vector<double>& expected, double relative,
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

inline void expect_close(const TestTensor& actual, const std::vector<double>& expected, std::string_view what) {
  expect_close(actual, expected, tolerance(actual.dtype()), what);
}

inline double dot(const TestTensor& a, const TestTensor& b) {
  double sum = 0.0;
  for (std::int64_t i = 0; i < a.elements(); ++i) sum += a.at(i) * b.at(i);
  return sum;
}

// `gradient` (f64) against central differences of `loss`, which must read `x` (f64) anew at every call. Restores x.
// At most about 200 elements, evenly spread, are probed.
inline void expect_gradient(const std::function<double()>& loss, TestTensor& x, const TestTensor& gradient,
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

// Test suites that run at every place:
//   class Dense : public OverPlaces {};
//   HEADROOM_OVER_PLACES(Dense);
//   TEST_P(Dense, AddsRows) { ... zeros({3, 5}) ... }
class OverPlaces : public ::testing::TestWithParam<Place> {
 protected:
  void SetUp() override { HEADROOM_NEEDS(place()); }

  Place place() const { return GetParam(); }
  DType dtype() const { return place().dtype; }
  Place wide_place() const { return {place().device, place().wide()}; }
  TestTensor zeros(Shape shape) const { return {shape, place()}; }
  // The relative error allowed in this place's results where f32's (and f64's) can be said more tightly.
  double relative(double in_f32, double in_f64 = tolerance(DType::f64)) const {
    if (dtype() == DType::bf16) return tolerance(DType::bf16);
    return dtype() == DType::f64 ? in_f64 : in_f32;
  }
  // Of the accumulator's dtype: a row's statistics, a parameter's gradient.
  TestTensor wide_zeros(Shape shape) const { return {shape, place().wide(), place().device}; }
  TestTensor random(Shape shape, std::string_view name, double deviation = 1.0) const {
    return TestTensor::random(shape, place(), name, deviation);
  }
  TestTensor wide_random(Shape shape, std::string_view name, double deviation = 1.0) const {
    return TestTensor::random(shape, Place{place().device, place().wide()}, name, deviation);
  }
};

#define HEADROOM_OVER_PLACES(suite)                                                                            \
  INSTANTIATE_TEST_SUITE_P(Everywhere, suite,                                                                  \
                           ::testing::Values(::headroom::reference::kCpuF32, ::headroom::reference::kCpuF64,   \
                                             ::headroom::reference::kGpuF32, ::headroom::reference::kGpuBf16), \
                           [](const auto& tested) { return tested.param.name(); })

}  // namespace headroom::reference
