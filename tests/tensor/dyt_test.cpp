// Dynamic tanh against std::tanh, small and saturated arguments alike.
#include <limits>

#include "tests/tensor/reference.h"

namespace headroom {
namespace {

using reference::dot;
using reference::expect_close;
using reference::expect_gradient;
using reference::TestTensor;
using reference::tolerance;

const Shape kShapes[] = {{1, 1}, {7, 13}, {64, 64}, {131, 257}, {4099, 31}};

class Dyt : public reference::OverPlaces {};
HEADROOM_OVER_PLACES(Dyt);

TEST_P(Dyt, IsGammaTimesTanhPlusBeta) {
  for (const Shape& shape : kShapes) {
    for (const double slope : {0.001, 0.5, 40.0}) {
      const auto x = random(shape, "x");
      const auto alpha = TestTensor::filled({1}, place(), slope);
      const auto gamma = random({shape[1]}, "gamma");
      const auto beta = random({shape[1]}, "beta");
      const auto y = random(shape, "overwritten");
      const auto without_beta = random(shape, "overwritten");
      ops::dyt(x, alpha, gamma, Tensor(), without_beta);
      ops::dyt(x, alpha, gamma, beta, y);
      std::vector<double> expected;
      std::vector<double> expected_without_beta;
      for (std::int64_t i = 0; i < x.elements(); ++i) {
        expected_without_beta.push_back(gamma.at(i % shape[1]) * std::tanh(alpha.at(0) * x.at(i)));
        expected.push_back(expected_without_beta.back() + beta.at(i % shape[1]));
      }
      expect_close(y, expected, "y");
      expect_close(without_beta, expected_without_beta, "y without beta");
    }
  }
}

// Every magnitude of f32, so that no seam between the ways of computing it goes unseen.
TEST_P(Dyt, TanhIsAccurateRelativeToItself) {
  std::vector<double> arguments;
  for (double magnitude = 1e-20; magnitude < 1e20; magnitude *= 1.0037) {
    arguments.push_back(magnitude);
    arguments.push_back(-magnitude);
  }
  for (double x = -10.0; x <= 10.0; x += 0.0007) arguments.push_back(x);
  const auto count = static_cast<std::int64_t>(arguments.size());
  auto x = zeros({count, 1});
  for (std::int64_t i = 0; i < count; ++i) x.set(i, arguments[static_cast<std::size_t>(i)]);
  const auto one = TestTensor::filled({1}, place(), 1.0);
  const auto y = zeros({count, 1});
  ops::dyt(x, one, one, Tensor(), y);
  for (std::int64_t i = 0; i < count; ++i) {
    const double expected = std::tanh(x.at(i));
    ASSERT_NEAR(y.at(i), expected, relative(3e-7, 1e-15) * std::abs(expected)) << "tanh " << x.at(i);
  }
}

TEST_P(Dyt, SaturatesAtInfinityAndKeepsNan) {
  auto x = zeros({1, 3});
  x.set(0, std::numeric_limits<double>::infinity());
  x.set(1, -std::numeric_limits<double>::infinity());
  x.set(2, std::numeric_limits<double>::quiet_NaN());
  const auto one = TestTensor::filled({1}, place(), 1.0);
  const auto gamma = TestTensor::filled({3}, place(), 1.0);
  const auto y = zeros({1, 3});
  ops::dyt(x, one, gamma, Tensor(), y);
  EXPECT_EQ(y.at(0), 1.0);
  EXPECT_EQ(y.at(1), -1.0);
  EXPECT_TRUE(std::isnan(y.at(2)));
}

TEST_P(Dyt, BackwardAddsTheGradients) {
  for (const Shape& shape : kShapes) {
    const std::int64_t columns = shape[1];
    const auto x = random(shape, "x");
    const auto dy = random(shape, "dy");
    const auto alpha = TestTensor::filled({1}, place(), 0.75);
    const auto gamma = random({columns}, "gamma");
    for (const bool with_beta : {true, false}) {
      const auto dx = random(shape, "dx before");
      const auto dalpha = wide_random({1}, "dalpha before");
      const auto dgamma = wide_random({columns}, "dgamma before");
      const auto dbeta = wide_random({columns}, "dbeta before");
      auto expected_dx = dx.values();
      auto expected_dgamma = dgamma.values();
      auto expected_dbeta = dbeta.values();
      double expected_dalpha = dalpha.at(0);
      double magnitude = std::abs(expected_dalpha);  // of the terms, which cancel in the sum
      for (std::int64_t i = 0; i < x.elements(); ++i) {
        const auto column = static_cast<std::size_t>(i % columns);
        const double t = std::tanh(alpha.at(0) * x.at(i));
        const double inner = dy.at(i) * gamma.at(i % columns) * (1.0 - t * t);
        expected_dx[static_cast<std::size_t>(i)] += alpha.at(0) * inner;
        expected_dgamma[column] += dy.at(i) * t;
        expected_dbeta[column] += dy.at(i);
        expected_dalpha += inner * x.at(i);
        magnitude += std::abs(inner * x.at(i));
      }
      ops::dyt_backward(dy, x, alpha, gamma, dx, dalpha, dgamma, with_beta ? dbeta.tensor() : Tensor());
      expect_close(dx, expected_dx, "dx");
      expect_close(dgamma, expected_dgamma, "dgamma");
      if (with_beta) expect_close(dbeta, expected_dbeta, "dbeta");
      EXPECT_NEAR(dalpha.at(0), expected_dalpha, relative(1e-6, 1e-14) * magnitude);
    }
  }
}

TEST(DytGradients, AgreeWithFiniteDifferences) {
  const Shape shape{5, 7};
  auto x = TestTensor::random(shape, DType::f64, "x");
  auto alpha = TestTensor::filled({1}, DType::f64, 0.75);
  auto gamma = TestTensor::random({7}, DType::f64, "gamma");
  auto beta = TestTensor::random({7}, DType::f64, "beta");
  const auto dy = TestTensor::random(shape, DType::f64, "dy");
  const TestTensor y(shape, DType::f64);
  const auto loss = [&] {
    ops::dyt(x, alpha, gamma, beta, y);
    return dot(y, dy);
  };
  const TestTensor dx(shape, DType::f64);
  const TestTensor dalpha({1}, DType::f64);
  const TestTensor dgamma({7}, DType::f64);
  const TestTensor dbeta({7}, DType::f64);
  ops::dyt_backward(dy, x, alpha, gamma, dx, dalpha, dgamma, dbeta);
  expect_gradient(loss, x, dx, "dx");
  expect_gradient(loss, alpha, dalpha, "dalpha");
  expect_gradient(loss, gamma, dgamma, "dgamma");
  expect_gradient(loss, beta, dbeta, "dbeta");
}

}  // namespace
}  // namespace headroom
