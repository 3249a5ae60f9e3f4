// Matrix products and the streaming operations against plain f64 loops.
#include <cmath>
#include <limits>
#include <tuple>

#include "tests/tensor/reference.h"

namespace headroom {
namespace {

using reference::expect_close;
using reference::HostTensor;
using reference::tolerance;

struct Product {
  std::int64_t m, n, k;
};

class Matmul : public ::testing::TestWithParam<std::tuple<DType, Product, Transpose, Transpose>> {};

TEST_P(Matmul, IsAlphaTimesTheProductPlusBetaTimesC) {
  const auto [dtype, size, transpose_a, transpose_b] = GetParam();
  const auto [m, n, k] = size;
  const bool flip_a = transpose_a == Transpose::yes;
  const bool flip_b = transpose_b == Transpose::yes;
  const auto a = HostTensor::random(flip_a ? Shape{k, m} : Shape{m, k}, dtype, "a");
  const auto b = HostTensor::random(flip_b ? Shape{n, k} : Shape{k, n}, dtype, "b");
  for (const auto& [alpha, beta] : {std::pair{1.0, 0.0}, std::pair{1.0, 1.0}, std::pair{-0.5, 2.0}}) {
    const auto c = HostTensor::random({m, n}, dtype, "c");
    auto expected = c.values();
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        double sum = 0.0;
        for (std::int64_t l = 0; l < k; ++l) {
          sum += a.at(flip_a ? l * m + i : i * k + l) * b.at(flip_b ? j * k + l : l * n + j);
        }
        double& at = expected[static_cast<std::size_t>(i * n + j)];
        at = alpha * sum + beta * at;
      }
    }
    ops::matmul(a, transpose_a, b, transpose_b, c, alpha, beta);
    expect_close(c, expected, tolerance(dtype), "c");
  }
}

INSTANTIATE_TEST_SUITE_P(EveryLayout, Matmul,
                         ::testing::Combine(::testing::Values(DType::f32, DType::f64),
                                            ::testing::Values(Product{1, 1, 1}, Product{7, 5, 3}, Product{1, 31, 17},
                                                              Product{64, 64, 64}, Product{37, 101, 67}),
                                            ::testing::Values(Transpose::no, Transpose::yes),
                                            ::testing::Values(Transpose::no, Transpose::yes)));

class Dense : public reference::OverDtypes {};
HEADROOM_OVER_DTYPES(Dense);

TEST_P(Dense, MatmulWithBetaZeroDoesNotReadC) {
  const auto a = random({5, 3}, "a");
  const auto b = random({3, 7}, "b");
  const auto c = HostTensor::filled({5, 7}, dtype(), std::numeric_limits<double>::quiet_NaN());
  ops::matmul(a, Transpose::no, b, Transpose::no, c, 1.0, 0.0);
  for (const double value : c.values()) EXPECT_TRUE(std::isfinite(value));
}

TEST_P(Dense, MatmulOverNothingScalesC) {
  const auto a = zeros({0, 2});
  const auto b = zeros({0, 3});
  auto c = HostTensor::filled({2, 3}, dtype(), 4.0);
  ops::matmul(a, Transpose::yes, b, Transpose::no, c, 1.0, 0.5);
  EXPECT_THAT(c.values(), ::testing::Each(2.0));
}

TEST_P(Dense, MatmulRefusesMatricesThatDoNotFit) {
  EXPECT_THROW(ops::matmul(zeros({2, 3}), Transpose::no, zeros({2, 3}), Transpose::no, zeros({2, 3}), 1.0, 0.0), Error);
  EXPECT_THROW(ops::matmul(HostTensor({2, 2}, DType::f32), Transpose::no, HostTensor({2, 2}, DType::f64), Transpose::no,
                           HostTensor({2, 2}, DType::f32), 1.0, 0.0),
               Error);
}

TEST_P(Dense, BiasIsAddedToEveryRow) {
  for (const Shape& shape : {Shape{1, 1}, Shape{13, 17}, Shape{301, 257}}) {
    const auto bias = random({shape[1]}, "bias");
    const auto x = random(shape, "x");
    auto expected = x.values();
    for (std::size_t i = 0; i < expected.size(); ++i) {
      expected[i] += bias.at(static_cast<std::int64_t>(i) % shape[1]);
    }
    ops::add_bias(bias, x);
    expect_close(x, expected, tolerance(dtype()), "x");
  }
}

TEST_P(Dense, BiasGradientAddsTheColumnSums) {
  for (const Shape& shape : {Shape{1, 1}, Shape{13, 17}, Shape{1031, 67}, Shape{256, 256}}) {
    const auto dy = random(shape, "dy");
    const auto dbias = random({shape[1]}, "dbias");
    auto expected = dbias.values();
    for (std::int64_t i = 0; i < dy.elements(); ++i) expected[static_cast<std::size_t>(i % shape[1])] += dy.at(i);
    ops::bias_backward(dy, dbias);
    expect_close(dbias, expected, tolerance(dtype()), "dbias");
  }
}

TEST_P(Dense, AddCopyAndZero) {
  for (const std::int64_t size : {1, 31, 100'003}) {
    const auto x = random({size}, "x");
    const auto y = random({size}, "y");
    auto expected = y.values();
    for (std::int64_t i = 0; i < size; ++i) expected[static_cast<std::size_t>(i)] += x.at(i);
    ops::add(x, y);
    expect_close(y, expected, tolerance(dtype()), "x + y");

    ops::copy(x, y);
    EXPECT_EQ(y.values(), x.values());

    ops::zero(y);
    EXPECT_THAT(y.values(), ::testing::Each(0.0));
  }
}

TEST_P(Dense, RefusesDifferentSizes) {
  EXPECT_THROW(ops::add(zeros({3}), zeros({4})), Error);
  EXPECT_THROW(ops::copy(zeros({3}), zeros({4})), Error);
  EXPECT_THROW(ops::add_bias(zeros({3}), zeros({4, 4})), Error);
  EXPECT_THROW(ops::bias_backward(zeros({4, 4}), zeros({3})), Error);
}

}  // namespace
}  // namespace headroom
