// SwiGLU and the one-argument activations against their formulas with the standard library's functions; every
// backward against the formula of its slope, by finite differences and in place.
#include <limits>
#include <numbers>

#include "tests/tensor/reference.h"

namespace headroom {
namespace {

using reference::dot;
using reference::expect_close;
using reference::expect_gradient;
using reference::Place;
using reference::TestTensor;
using reference::tolerance;

double sigmoid(double x) {
  return 1.0 / (1.0 + std::exp(-x));
}

double activated(Activation kind, double x) {
  switch (kind) {
    case Activation::gelu:
      return 0.5 * x * (1.0 + std::erf(x / std::numbers::sqrt2));
    case Activation::gelu_tanh:
      return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case Activation::relu:
      return std::max(x, 0.0);
    case Activation::swiglu:
      break;
  }
  throw std::invalid_argument("not a function of one number");
}

// The derivative of `activated`, written out.
double slope(Activation kind, double x) {
  const double root = std::sqrt(2.0 / std::numbers::pi);
  switch (kind) {
    case Activation::gelu:
      return 0.5 * (1.0 + std::erf(x / std::numbers::sqrt2)) + 0.5 * x * root * std::exp(-0.5 * x * x);
    case Activation::gelu_tanh: {
      const double t = std::tanh(root * (x + 0.044715 * x * x * x));
      return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * root * (1.0 + 3.0 * 0.044715 * x * x);
    }
    case Activation::relu:
      return x > 0.0 ? 1.0 : 0.0;
    case Activation::swiglu:
      break;
  }
  throw std::invalid_argument("not a function of one number");
}

// An arithmetic sequence through everything an activation meets, and a few numbers far outside.
TestTensor arguments(const Place& place) {
  constexpr std::int64_t kCount = 40'001;
  TestTensor x({kCount + 6}, place);
  for (std::int64_t i = 0; i < kCount; ++i) x.set(i, static_cast<double>(i - kCount / 2) * 0.0006);
  const double far[] = {-1e30, -3000.0, -100.0, 100.0, 3000.0, 1e12};
  for (std::int64_t i = 0; i < 6; ++i) x.set(kCount + i, far[i]);
  return x;
}

class FeedForwardOps : public reference::OverPlaces {};
HEADROOM_OVER_PLACES(FeedForwardOps);

TEST_P(FeedForwardOps, ActivationsFollowTheirFormulas) {
  const auto x = arguments(place());
  for (const Activation kind : {Activation::gelu, Activation::gelu_tanh, Activation::relu}) {
    const TestTensor y(x.tensor().shape(), place());
    ops::activation(kind, x, y);
    for (std::int64_t i = 0; i < x.elements(); ++i) {
      // GELU's lower tail is a difference: exact to the rounding of 1, not relative to itself.
      const double allowed = relative(4e-7, 1e-15) * std::abs(x.at(i));
      ASSERT_NEAR(y.at(i), activated(kind, x.at(i)), allowed) << "kind " << static_cast<int>(kind) << " of " << x.at(i);
    }
  }
}

TEST_P(FeedForwardOps, ActivationBackwardIsDyTimesTheSlope) {
  const auto x = arguments(place());
  const auto dy = random(x.tensor().shape(), "dy");
  for (const Activation kind : {Activation::gelu, Activation::gelu_tanh, Activation::relu}) {
    const TestTensor dx(x.tensor().shape(), place());
    ops::activation_backward(kind, dy, x, dx);
    // In f32 a tanh near 1 leaves 1 - tanh^2 an absolute error of some 1e-7, which the slope of its argument
    // multiplies.
    const double close = relative(2e-6, 1e-13);
    for (std::int64_t i = 0; i < x.elements(); ++i) {
      ASSERT_NEAR(dx.at(i), dy.at(i) * slope(kind, x.at(i)), close * std::abs(dy.at(i)))
          << "kind " << static_cast<int>(kind) << " at " << x.at(i);
    }
  }
}

TEST_P(FeedForwardOps, ReluHasNoSlopeAtZero) {
  const auto x = zeros({3});
  const auto dx = zeros({3});
  ops::activation_backward(Activation::relu, TestTensor::filled({3}, place(), 2.0), x, dx);
  EXPECT_THAT(dx.values(), ::testing::Each(0.0));
}

TEST_P(FeedForwardOps, ActivationBackwardMayTakeThePlaceOfItsInputs) {
  for (const Activation kind : {Activation::gelu, Activation::gelu_tanh, Activation::relu}) {
    const auto x = random({37, 53}, "x", 2.0);
    const auto dy = random({37, 53}, "dy");
    const auto dx = zeros({37, 53});
    ops::activation_backward(kind, dy, x, dx);
    const auto over_x = x.clone();
    ops::activation_backward(kind, dy, over_x, over_x);
    EXPECT_EQ(over_x.values(), dx.values());
    const auto over_dy = dy.clone();
    ops::activation_backward(kind, over_dy, x, over_dy);
    EXPECT_EQ(over_dy.values(), dx.values());
  }
}

TEST_P(FeedForwardOps, ActivationsPassNanOn) {
  const auto x = TestTensor::filled({11}, place(), std::numeric_limits<double>::quiet_NaN());
  for (const Activation kind : {Activation::gelu, Activation::gelu_tanh, Activation::relu}) {
    const auto y = zeros({11});
    ops::activation(kind, x, y);
    for (const double value : y.values()) EXPECT_TRUE(std::isnan(value));
  }
}

TEST_P(FeedForwardOps, SwigluAsAnActivationIsRefused) {
  const auto x = zeros({3});
  EXPECT_THROW(ops::activation(Activation::swiglu, x, x), Error);
  EXPECT_THROW(ops::activation_backward(Activation::swiglu, x, x, x), Error);
}

TEST_P(FeedForwardOps, SwigluGatesAndItsBackwardFollowsTheChainRule) {
  for (const Shape& shape : {Shape{1, 1}, Shape{7, 13}, Shape{64, 64}, Shape{131, 257}}) {
    const std::int64_t width = shape[1];
    const auto gate_up = random({shape[0], 2 * width}, "gate up", 3.0);
    const auto dy = random(shape, "dy");
    const auto y = random(shape, "overwritten");
    const auto dgate_up = random({shape[0], 2 * width}, "overwritten");
    std::vector<double> expected_y;
    auto expected = gate_up.values();
    for (std::int64_t row = 0; row < shape[0]; ++row) {
      for (std::int64_t i = 0; i < width; ++i) {
        double& gate = expected[static_cast<std::size_t>(2 * row * width + i)];
        double& up = expected[static_cast<std::size_t>((2 * row + 1) * width + i)];
        const double grad = dy.at(row * width + i);
        const double s = sigmoid(gate);
        expected_y.push_back(gate * s * up);
        const double dgate = grad * up * (s + gate * s * (1.0 - s));
        up = grad * gate * s;
        gate = dgate;
      }
    }
    ops::swiglu(gate_up, y);
    ops::swiglu_backward(dy, gate_up, dgate_up);
    const double close = relative(1e-6);
    expect_close(y, expected_y, close, "y");
    expect_close(dgate_up, expected, close, "dgate up");
    const auto in_place = gate_up.clone();
    ops::swiglu_backward(dy, in_place, in_place);
    EXPECT_EQ(in_place.values(), dgate_up.values());
  }
}

TEST_P(FeedForwardOps, SwigluOfHugeGatesStaysFinite) {
  auto gate_up = TestTensor::filled({2, 2}, place(), 1.0);
  gate_up.set(0, 8192.0);
  gate_up.set(2, -8192.0);
  const auto dy = TestTensor::filled({2, 1}, place(), 1.0);
  const auto y = zeros({2, 1});
  const auto dgate_up = zeros({2, 2});
  ops::swiglu(gate_up, y);
  ops::swiglu_backward(dy, gate_up, dgate_up);
  EXPECT_THAT(y.values(), ::testing::ElementsAre(8192.0, 0.0));
  EXPECT_THAT(dgate_up.values(), ::testing::ElementsAre(1.0, 8192.0, 0.0, 0.0));
}

TEST(FeedForwardGradients, AgreeWithFiniteDifferences) {
  const auto dy = TestTensor::random({5, 7}, DType::f64, "dy");
  const TestTensor y({5, 7}, DType::f64);
  {
    auto gate_up = TestTensor::random({5, 14}, DType::f64, "gate up");
    const TestTensor dgate_up({5, 14}, DType::f64);
    ops::swiglu_backward(dy, gate_up, dgate_up);
    const auto loss = [&] {
      ops::swiglu(gate_up, y);
      return dot(y, dy);
    };
    expect_gradient(loss, gate_up, dgate_up, "swiglu");
  }
  for (const Activation kind : {Activation::gelu, Activation::gelu_tanh, Activation::relu}) {
    auto x = TestTensor::random({5, 7}, DType::f64, "x");
    const TestTensor dx({5, 7}, DType::f64);
    ops::activation_backward(kind, dy, x, dx);
    const auto loss = [&] {
      ops::activation(kind, x, y);
      return dot(y, dy);
    };
    expect_gradient(loss, x, dx, "activation");
  }
}

}  // namespace
}  // namespace headroom
