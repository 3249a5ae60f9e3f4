// RMS norm, layer norm and the norm of query and key heads against plain loops, their backwards against finite
// differences.
#include <tuple>

#include "tests/tensor/reference.h"

namespace headroom {
namespace {

using reference::dot;
using reference::expect_close;
using reference::expect_gradient;
using reference::HostTensor;
using reference::tolerance;

constexpr double kEps = 1e-5;

struct Size {
  std::int64_t rows;
  std::int64_t columns;
};

void PrintTo(const Size& size, std::ostream* out) {
  *out << size.rows << "x" << size.columns;
}

class Norms : public ::testing::TestWithParam<std::tuple<DType, Size>> {
 protected:
  DType dtype() const { return std::get<0>(GetParam()); }
  std::int64_t rows() const { return std::get<1>(GetParam()).rows; }
  std::int64_t columns() const { return std::get<1>(GetParam()).columns; }
  HostTensor matrix(std::string_view name) const { return HostTensor::random({rows(), columns()}, dtype(), name); }
  HostTensor vector(std::string_view name) const { return HostTensor::random({columns()}, dtype(), name); }
  HostTensor column() const { return {{rows()}, dtype()}; }

  // What a normed row is in f64, and what became of it on the way.
  struct Row {
    double mean = 0.0;
    double rstd = 0.0;
    std::vector<double> normed;
  };
  Row normed_row(const HostTensor& x, std::int64_t row, bool centered) const {
    Row result;
    const auto n = static_cast<double>(columns());
    for (std::int64_t c = 0; centered && c < columns(); ++c) result.mean += x.at(row * columns() + c) / n;
    double variance = 0.0;
    for (std::int64_t c = 0; c < columns(); ++c) {
      variance += std::pow(x.at(row * columns() + c) - result.mean, 2) / n;
    }
    result.rstd = 1.0 / std::sqrt(variance + kEps);
    for (std::int64_t c = 0; c < columns(); ++c) {
      result.normed.push_back((x.at(row * columns() + c) - result.mean) * result.rstd);
    }
    return result;
  }

  // dx and the parameters' gradients by the chain rule over one row at a time.
  struct Gradients {
    std::vector<double> dx;
    std::vector<double> dgamma;
    std::vector<double> dbeta;
  };
  Gradients gradients(const HostTensor& dy, const HostTensor& x, const HostTensor& gamma, bool centered) const {
    Gradients result{std::vector<double>(static_cast<std::size_t>(rows() * columns())),
                     std::vector<double>(static_cast<std::size_t>(columns())),
                     std::vector<double>(static_cast<std::size_t>(columns()))};
    const auto n = static_cast<double>(columns());
    for (std::int64_t r = 0; r < rows(); ++r) {
      const Row row = normed_row(x, r, centered);
      double mean_g = 0.0;
      double mean_gn = 0.0;
      for (std::int64_t c = 0; c < columns(); ++c) {
        const auto at = static_cast<std::size_t>(c);
        const double grad = dy.at(r * columns() + c);
        mean_g += grad * gamma.at(c) / n;
        mean_gn += grad * gamma.at(c) * row.normed[at] / n;
        result.dgamma[at] += grad * row.normed[at];
        result.dbeta[at] += grad;
      }
      for (std::int64_t c = 0; c < columns(); ++c) {
        const double g = dy.at(r * columns() + c) * gamma.at(c);
        result.dx[static_cast<std::size_t>(r * columns() + c)] =
            row.rstd * (g - (centered ? mean_g : 0.0) - row.normed[static_cast<std::size_t>(c)] * mean_gn);
      }
    }
    return result;
  }
};

// What was there before plus what the op should add.
std::vector<double> plus(const HostTensor& before, std::vector<double> added) {
  for (std::size_t i = 0; i < added.size(); ++i) added[i] += before.at(static_cast<std::int64_t>(i));
  return added;
}

INSTANTIATE_TEST_SUITE_P(Sizes, Norms,
                         ::testing::Combine(::testing::Values(DType::f32, DType::f64),
                                            ::testing::Values(Size{1, 1}, Size{3, 2}, Size{7, 13}, Size{64, 64},
                                                              Size{131, 257}, Size{5, 1031}, Size{4099, 31})));

TEST_P(Norms, RmsNormDividesByTheRootMeanSquare) {
  const auto x = matrix("x");
  const auto gamma = vector("gamma");
  const auto y = matrix("overwritten");
  const auto rstd = column();
  ops::rms_norm(x, gamma, kEps, y, rstd);
  std::vector<double> expected_y;
  std::vector<double> expected_rstd;
  for (std::int64_t r = 0; r < rows(); ++r) {
    const Row row = normed_row(x, r, false);
    expected_rstd.push_back(row.rstd);
    for (std::int64_t c = 0; c < columns(); ++c) {
      expected_y.push_back(row.normed[static_cast<std::size_t>(c)] * gamma.at(c));
    }
  }
  const double relative = dtype() == DType::f32 ? 1e-6 : tolerance(dtype());
  expect_close(y, expected_y, relative, "y");
  expect_close(rstd, expected_rstd, relative, "rstd");
}

TEST_P(Norms, RmsNormBackwardAddsTheGradients) {
  const auto x = matrix("x");
  const auto dy = matrix("dy");
  const auto gamma = vector("gamma");
  const auto y = matrix("y");
  const auto rstd = column();
  ops::rms_norm(x, gamma, kEps, y, rstd);
  const auto dx = matrix("dx before");
  const auto dgamma = vector("dgamma before");
  const Gradients added = gradients(dy, x, gamma, false);
  const auto expected_dx = plus(dx, added.dx);
  const auto expected_dgamma = plus(dgamma, added.dgamma);
  ops::rms_norm_backward(dy, x, gamma, rstd, dx, dgamma);
  expect_close(dx, expected_dx, tolerance(dtype()), "dx");
  expect_close(dgamma, expected_dgamma, tolerance(dtype()), "dgamma");
}

TEST_P(Norms, LayerNormCentersAndDividesByTheDeviation) {
  const auto x = matrix("x");
  const auto gamma = vector("gamma");
  const auto beta = vector("beta");
  const auto y = matrix("overwritten");
  const auto without_beta = matrix("overwritten");
  const auto mean = column();
  const auto rstd = column();
  ops::layer_norm(x, gamma, Tensor(), kEps, without_beta, mean, rstd);
  ops::layer_norm(x, gamma, beta, kEps, y, mean, rstd);
  std::vector<double> expected_y;
  std::vector<double> expected_without_beta;
  std::vector<double> expected_mean;
  std::vector<double> expected_rstd;
  for (std::int64_t r = 0; r < rows(); ++r) {
    const Row row = normed_row(x, r, true);
    expected_mean.push_back(row.mean);
    expected_rstd.push_back(row.rstd);
    for (std::int64_t c = 0; c < columns(); ++c) {
      expected_without_beta.push_back(row.normed[static_cast<std::size_t>(c)] * gamma.at(c));
      expected_y.push_back(expected_without_beta.back() + beta.at(c));
    }
  }
  expect_close(y, expected_y, tolerance(dtype()), "y");
  expect_close(without_beta, expected_without_beta, tolerance(dtype()), "y without beta");
  expect_close(mean, expected_mean, tolerance(dtype()), "mean");
  expect_close(rstd, expected_rstd, tolerance(dtype()), "rstd");
}

TEST_P(Norms, LayerNormBackwardAddsTheGradients) {
  // Columns by turns around -2 and 2: of two nearly equal numbers nothing would be left in f32 but their rounding.
  auto x = matrix("x");
  for (std::int64_t i = 0; i < x.elements(); ++i) x.set(i, x.at(i) + (i % columns() % 2 == 0 ? -2.0 : 2.0));
  const auto dy = matrix("dy");
  const auto gamma = vector("gamma");
  const auto y = matrix("y");
  const auto mean = column();
  const auto rstd = column();
  ops::layer_norm(x, gamma, Tensor(), kEps, y, mean, rstd);
  const Gradients added = gradients(dy, x, gamma, true);
  for (const bool with_beta : {true, false}) {
    const auto dx = matrix("dx before");
    const auto dgamma = vector("dgamma before");
    const auto dbeta = vector("dbeta before");
    const auto expected_dx = plus(dx, added.dx);
    const auto expected_dgamma = plus(dgamma, added.dgamma);
    const auto expected_dbeta = plus(dbeta, added.dbeta);
    ops::layer_norm_backward(dy, x, gamma, mean, rstd, dx, dgamma, with_beta ? dbeta.tensor() : Tensor());
    expect_close(dx, expected_dx, tolerance(dtype()), "dx");
    expect_close(dgamma, expected_dgamma, tolerance(dtype()), "dgamma");
    if (with_beta) expect_close(dbeta, expected_dbeta, tolerance(dtype()), "dbeta");
  }
}

TEST(NormGradients, AgreeWithFiniteDifferences) {
  const Shape shape{5, 7};
  auto x = HostTensor::random(shape, DType::f64, "x");
  auto gamma = HostTensor::random({7}, DType::f64, "gamma");
  auto beta = HostTensor::random({7}, DType::f64, "beta");
  const auto dy = HostTensor::random(shape, DType::f64, "dy");
  const HostTensor y(shape, DType::f64);
  const HostTensor mean({5}, DType::f64);
  const HostTensor rstd({5}, DType::f64);
  {
    const auto loss = [&] {
      ops::rms_norm(x, gamma, kEps, y, rstd);
      return dot(y, dy);
    };
    loss();
    const HostTensor dx(shape, DType::f64);
    const HostTensor dgamma({7}, DType::f64);
    ops::rms_norm_backward(dy, x, gamma, rstd, dx, dgamma);
    expect_gradient(loss, x, dx, "rms dx");
    expect_gradient(loss, gamma, dgamma, "rms dgamma");
  }
  {
    const auto loss = [&] {
      ops::layer_norm(x, gamma, beta, kEps, y, mean, rstd);
      return dot(y, dy);
    };
    loss();
    const HostTensor dx(shape, DType::f64);
    const HostTensor dgamma({7}, DType::f64);
    const HostTensor dbeta({7}, DType::f64);
    ops::layer_norm_backward(dy, x, gamma, mean, rstd, dx, dgamma, dbeta);
    expect_gradient(loss, x, dx, "layer dx");
    expect_gradient(loss, gamma, dgamma, "layer dgamma");
    expect_gradient(loss, beta, dbeta, "layer dbeta");
  }
}

// A tensor-parallel rank may hold no row at all.
TEST(NormGradients, OfNoRowsAddNothing) {
  const HostTensor nothing({0, 7}, DType::f32);
  const HostTensor no_rstd({0}, DType::f32);
  const auto gamma = HostTensor::filled({7}, DType::f32, 1.0);
  const auto dgamma = HostTensor::filled({7}, DType::f32, 3.0);
  ops::rms_norm(nothing, gamma, kEps, nothing, no_rstd);
  ops::rms_norm_backward(nothing, nothing, gamma, no_rstd, nothing, dgamma);
  EXPECT_THAT(dgamma.values(), ::testing::Each(3.0));
}

}  // namespace
}  // namespace headroom
