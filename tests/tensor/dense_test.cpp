// Matrix products and the streaming operations against plain f64 loops.
#include <cmath>
#include <limits>
#include <numbers>
#include <tuple>

#include "tests/tensor/reference.h"

namespace headroom {
namespace {

using reference::expect_close;
using reference::Place;
using reference::TestTensor;

struct Product {
  std::int64_t m, n, k;
};

class Matmul : public ::testing::TestWithParam<std::tuple<Place, Product, Transpose, Transpose>> {
 protected:
  void SetUp() override { HEADROOM_NEEDS(std::get<0>(GetParam())); }
};

TEST_P(Matmul, IsAlphaTimesTheProductPlusBetaTimesC) {
  const auto [place, size, transpose_a, transpose_b] = GetParam();
  const auto [m, n, k] = size;
  const bool flip_a = transpose_a == Transpose::yes;
  const bool flip_b = transpose_b == Transpose::yes;
  const auto a = TestTensor::random(flip_a ? Shape{k, m} : Shape{m, k}, place, "a");
  const auto b = TestTensor::random(flip_b ? Shape{n, k} : Shape{k, n}, place, "b");
  for (const auto& [alpha, beta] : {std::pair{1.0, 0.0}, std::pair{1.0, 1.0}, std::pair{-0.5, 2.0}}) {
    const auto c = TestTensor::random({m, n}, place, "c");
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
    expect_close(c, expected, "c");
  }
}

std::string case_name(const ::testing::TestParamInfo<std::tuple<Place, Product, Transpose, Transpose>>& info) {
  const auto& [place, size, transpose_a, transpose_b] = info.param;
  const auto letter = [](Transpose transpose) { return transpose == Transpose::yes ? 't' : 'n'; };
  return fmt::format("{}_{}x{}x{}_{}{}", place.name(), size.m, size.n, size.k, letter(transpose_a),
                     letter(transpose_b));
}

INSTANTIATE_TEST_SUITE_P(EveryLayout, Matmul,
                         ::testing::Combine(::testing::ValuesIn(reference::kPlaces),
                                            ::testing::Values(Product{1, 1, 1}, Product{7, 5, 3}, Product{1, 31, 17},
                                                              Product{64, 64, 64}, Product{37, 101, 67}),
                                            ::testing::Values(Transpose::no, Transpose::yes),
                                            ::testing::Values(Transpose::no, Transpose::yes)),
                         case_name);

class Dense : public reference::OverPlaces {};
HEADROOM_OVER_PLACES(Dense);

TEST_P(Dense, MatmulWithBetaZeroDoesNotReadC) {
  const auto a = random({5, 3}, "a");
  const auto b = random({3, 7}, "b");
  const auto c = TestTensor::filled({5, 7}, place(), std::numeric_limits<double>::quiet_NaN());
  ops::matmul(a, Transpose::no, b, Transpose::no, c, 1.0, 0.0);
  for (const double value : c.values()) EXPECT_TRUE(std::isfinite(value));
}

TEST_P(Dense, MatmulOverNothingScalesC) {
  const auto a = zeros({0, 2});
  const auto b = zeros({0, 3});
  auto c = TestTensor::filled({2, 3}, place(), 4.0);
  ops::matmul(a, Transpose::yes, b, Transpose::no, c, 1.0, 0.5);
  EXPECT_THAT(c.values(), ::testing::Each(2.0));
}

TEST_P(Dense, MatmulRefusesMatricesThatDoNotFit) {
  EXPECT_THROW(ops::matmul(zeros({2, 3}), Transpose::no, zeros({2, 3}), Transpose::no, zeros({2, 3}), 1.0, 0.0), Error);
  EXPECT_THROW(ops::matmul(TestTensor({2, 2}, DType::f32), Transpose::no, TestTensor({2, 2}, DType::f64), Transpose::no,
                           TestTensor({2, 2}, DType::f32), 1.0, 0.0),
               Error);
}

// A weight's gradient: bf16 factors, added up in f32.
TEST_P(Dense, MatmulAccumulatesInTheWiderFormat) {
  const auto dy = random({67, 13}, "dy");
  const auto x = random({67, 31}, "x");
  const auto dw = wide_random({13, 31}, "dw before");
  auto expected = dw.values();
  for (std::int64_t o = 0; o < 13; ++o) {
    for (std::int64_t i = 0; i < 31; ++i) {
      for (std::int64_t r = 0; r < 67; ++r)
        expected[static_cast<std::size_t>(o * 31 + i)] += dy.at(r * 13 + o) * x.at(r * 31 + i);
    }
  }
  ops::matmul(dy, Transpose::yes, x, Transpose::no, dw, 1.0, 1.0);
  expect_close(dw, expected, "dw");
}

double gelu_tanh(double x) {
  return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}
double gelu_tanh_slope(double x) {
  const double root = std::sqrt(2.0 / std::numbers::pi);
  const double t = std::tanh(root * (x + 0.044715 * x * x * x));
  return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * root * (1.0 + 3.0 * 0.044715 * x * x);
}

TEST_P(Dense, LinearLayersWithAndWithoutBiasAndGelu) {
  for (const auto& [rows, out, in] : {Product{1, 1, 1}, Product{7, 5, 3}, Product{64, 64, 64}, Product{37, 101, 67}}) {
    const auto x = random({rows, in}, "x");
    const auto w = random({out, in}, "w", 1.0 / std::sqrt(static_cast<double>(in)));
    const auto bias = random({out}, "bias");
    for (const bool with_bias : {true, false}) {
      std::vector<double> product(static_cast<std::size_t>(rows * out));
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t o = 0; o < out; ++o) {
          double sum = with_bias ? bias.at(o) : 0.0;
          for (std::int64_t i = 0; i < in; ++i) sum += x.at(r * in + i) * w.at(o * in + i);
          product[static_cast<std::size_t>(r * out + o)] = sum;
        }
      }
      const Tensor addend = with_bias ? bias.tensor() : Tensor();
      const auto y = random({rows, out}, "overwritten");
      ops::linear(x, w, addend, y);
      expect_close(y, product, "y");

      const auto inner = random({rows, out}, "overwritten");
      ops::linear_gelu(x, w, addend, inner, y);
      expect_close(inner, product, "inner");
      std::vector<double> activated = product;
      for (double& value : activated) value = gelu_tanh(value);
      expect_close(y, activated, relative(2e-5) * (dtype() == DType::bf16 ? 2.0 : 1.0), "gelu");
    }
  }
}

TEST_P(Dense, LinearGeluBackwardIsTheProductTimesTheSlope) {
  for (const auto& [rows, out, in] : {Product{1, 1, 1}, Product{7, 5, 3}, Product{64, 64, 64}, Product{37, 101, 67}}) {
    const auto dy = random({rows, out}, "dy");
    const auto w = random({out, in}, "w", 1.0 / std::sqrt(static_cast<double>(out)));
    const auto inner = random({rows, in}, "inner");
    const auto dinner = random({rows, in}, "overwritten");
    std::vector<double> expected;
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t i = 0; i < in; ++i) {
        double sum = 0.0;
        for (std::int64_t o = 0; o < out; ++o) sum += dy.at(r * out + o) * w.at(o * in + i);
        expected.push_back(sum * gelu_tanh_slope(inner.at(r * in + i)));
      }
    }
    ops::linear_gelu_backward(dy, w, inner, dinner);
    expect_close(dinner, expected, "dinner");
  }
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
    expect_close(x, expected, "x");
  }
}

TEST_P(Dense, BiasGradientAddsTheColumnSums) {
  for (const Shape& shape : {Shape{1, 1}, Shape{13, 17}, Shape{1031, 67}, Shape{256, 256}}) {
    const auto dy = random(shape, "dy");
    const auto dbias = wide_random({shape[1]}, "dbias");
    auto expected = dbias.values();
    for (std::int64_t i = 0; i < dy.elements(); ++i) expected[static_cast<std::size_t>(i % shape[1])] += dy.at(i);
    ops::bias_backward(dy, dbias);
    expect_close(dbias, expected, "dbias");
  }
}

TEST_P(Dense, AddCopyAndZero) {
  for (const std::int64_t size : {1, 31, 100'003}) {
    const auto x = random({size}, "x");
    const auto y = random({size}, "y");
    auto expected = y.values();
    for (std::int64_t i = 0; i < size; ++i) expected[static_cast<std::size_t>(i)] += x.at(i);
    ops::add(x, y);
    expect_close(y, expected, "x + y");

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
  EXPECT_THROW(ops::bias_backward(zeros({4, 4}), wide_zeros({3})), Error);
}

}  // namespace
}  // namespace headroom
