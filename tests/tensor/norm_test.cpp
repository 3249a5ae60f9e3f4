// RMS norm, layer norm and the norm of query and key heads against plain loops, their backwards against finite
// differences.
#include <tuple>

#include "tests/tensor/reference.h"

namespace headroom {
namespace {

using reference::dot;
using reference::expect_close;
using reference::expect_gradient;
using reference::Place;
using reference::TestTensor;
using reference::tolerance;

constexpr double kEps = 1e-5;

struct Size {
  std::int64_t rows;
  std::int64_t columns;
};

void PrintTo(const Size& size, std::ostream* out) {
  *out << size.rows << "x" << size.columns;
}

class Norms : public ::testing::TestWithParam<std::tuple<Place, Size>> {
 protected:
  void SetUp() override { HEADROOM_NEEDS(place()); }

  Place place() const { return std::get<0>(GetParam()); }
  std::int64_t rows() const { return std::get<1>(GetParam()).rows; }
  std::int64_t columns() const { return std::get<1>(GetParam()).columns; }
  TestTensor matrix(std::string_view name) const { return TestTensor::random({rows(), columns()}, place(), name); }
  TestTensor vector(std::string_view name) const { return TestTensor::random({columns()}, place(), name); }
  // Of the accumulator's dtype: a row's statistic, a parameter's gradient.
  TestTensor column() const { return {{rows()}, place().wide(), place().device}; }
  TestTensor gradient(std::string_view name) const {
    return TestTensor::random({columns()}, Place{place().device, place().wide()}, name);
  }

  // What a normed row is in f64, and what became of it on the way.
  struct Row {
    double mean = 0.0;
    double rstd = 0.0;
    std::vector<double> normed;
  };
  Row normed_row(const TestTensor& x, std::int64_t row, bool centered) const {
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
  Gradients gradients(const TestTensor& dy, const TestTensor& x, const TestTensor& gamma, bool centered) const {
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
std::vector<double> plus(const TestTensor& before, std::vector<double> added) {
  for (std::size_t i = 0; i < added.size(); ++i) added[i] += before.at(static_cast<std::int64_t>(i));
  return added;
}

// Writes a case's name as "cuda_bf16_7x13".
std::string case_name(const ::testing::TestParamInfo<std::tuple<Place, Size>>& info) {
  const auto& [place, size] = info.param;
  return place.name() + "_" + std::to_string(size.rows) + "x" + std::to_string(size.columns);
}

INSTANTIATE_TEST_SUITE_P(Sizes, Norms,
                         ::testing::Combine(::testing::ValuesIn(reference::kPlaces),
                                            ::testing::Values(Size{1, 1}, Size{3, 2}, Size{7, 13}, Size{64, 64},
                                                              Size{131, 257}, Size{5, 1031}, Size{3, 8200},
                                                              Size{4099, 31})),
                         case_name);

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
  const auto close = [](const TestTensor& tensor) {
    return tensor.dtype() == DType::f32 ? 1e-6 : tolerance(tensor.dtype());
  };
  expect_close(y, expected_y, close(y), "y");
  expect_close(rstd, expected_rstd, close(rstd), "rstd");
}

TEST_P(Norms, RmsNormBackwardAddsTheGradients) {
  const auto x = matrix("x");
  const auto dy = matrix("dy");
  const auto gamma = vector("gamma");
  const auto y = matrix("y");
  const auto rstd = column();
  ops::rms_norm(x, gamma, kEps, y, rstd);
  const auto dx = matrix("dx before");
  const auto dgamma = gradient("dgamma before");
  const Gradients added = gradients(dy, x, gamma, false);
  const auto expected_dx = plus(dx, added.dx);
  const auto expected_dgamma = plus(dgamma, added.dgamma);
  ops::rms_norm_backward(dy, x, gamma, rstd, dx, dgamma);
  expect_close(dx, expected_dx, "dx");
  expect_close(dgamma, expected_dgamma, "dgamma");
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
  expect_close(y, expected_y, "y");
  expect_close(without_beta, expected_without_beta, "y without beta");
  expect_close(mean, expected_mean, "mean");
  expect_close(rstd, expected_rstd, "rstd");
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
    const auto dgamma = gradient("dgamma before");
    const auto dbeta = gradient("dbeta before");
    const auto expected_dx = plus(dx, added.dx);
    const auto expected_dgamma = plus(dgamma, added.dgamma);
    const auto expected_dbeta = plus(dbeta, added.dbeta);
    ops::layer_norm_backward(dy, x, gamma, mean, rstd, dx, dgamma, with_beta ? dbeta.tensor() : Tensor());
    expect_close(dx, expected_dx, "dx");
    expect_close(dgamma, expected_dgamma, "dgamma");
    if (with_beta) expect_close(dbeta, expected_dbeta, "dbeta");
  }
}

// h += x, y = norm(h) and h's magnitudes, at once: the same as one after another.
class AddNorms : public Norms {
 protected:
  void expect_sum(const TestTensor& x, const TestTensor& before, const TestTensor& h) const {
    std::vector<double> expected = before.values();
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += x.at(static_cast<std::int64_t>(i));
    expect_close(h, expected, "h");
  }
  // What the by-product says against the plain operation.
  void expect_magnitudes(const reference::Summary& seen, const TestTensor& h) const {
    reference::Summary expected(place().device);
    ops::summarize_magnitudes(h, expected.target(7));
    const MagnitudeSummary want = expected.read(columns());
    const MagnitudeSummary have = seen.read(columns());
    EXPECT_EQ(have.max_abs, want.max_abs);
    EXPECT_EQ(have.row, want.row);
    EXPECT_EQ(have.column, want.column);
    EXPECT_THAT(have.counts, ::testing::ElementsAreArray(want.counts));
  }
};
INSTANTIATE_TEST_SUITE_P(Sizes, AddNorms,
                         ::testing::Combine(::testing::ValuesIn(reference::kPlaces),
                                            ::testing::Values(Size{1, 1}, Size{7, 13}, Size{64, 64}, Size{131, 257},
                                                              Size{5, 1031}, Size{3, 8200})),
                         case_name);

TEST_P(AddNorms, RmsNormOfASum) {
  const auto x = matrix("x");
  const auto h = matrix("h");
  const auto before = h.clone();
  const auto gamma = vector("gamma");
  const auto y = matrix("overwritten");
  const auto expected_y = matrix("overwritten");
  const auto rstd = column();
  const auto expected_rstd = column();
  reference::Summary seen(place().device);
  ops::add_rms_norm(x, seen.target(7), gamma, kEps, h, y, rstd);
  expect_sum(x, before, h);
  expect_magnitudes(seen, h);
  ops::rms_norm(h, gamma, kEps, expected_y, expected_rstd);
  EXPECT_EQ(y.values(), expected_y.values());
  EXPECT_EQ(rstd.values(), expected_rstd.values());
  const auto again = before.clone();
  ops::add_rms_norm(x, Magnitudes{}, gamma, kEps, again, y, rstd);  // nobody looks
  EXPECT_EQ(again.values(), h.values());
  EXPECT_EQ(y.values(), expected_y.values());
}

TEST_P(AddNorms, LayerNormOfASum) {
  const auto x = matrix("x");
  const auto h = matrix("h");
  const auto before = h.clone();
  const auto gamma = vector("gamma");
  const auto beta = vector("beta");
  for (const Tensor& bias : {beta.tensor(), Tensor()}) {
    const auto sum = before.clone();
    const auto y = matrix("overwritten");
    const auto expected_y = matrix("overwritten");
    const auto mean = column();
    const auto rstd = column();
    reference::Summary seen(place().device);
    ops::add_layer_norm(x, seen.target(7), gamma, bias, kEps, sum, y, mean, rstd);
    expect_sum(x, before, sum);
    expect_magnitudes(seen, sum);
    ops::layer_norm(sum, gamma, bias, kEps, expected_y, mean, rstd);
    EXPECT_EQ(y.values(), expected_y.values());
  }
}

TEST_P(AddNorms, DytOfASum) {
  const auto x = matrix("x");
  const auto h = matrix("h");
  const auto before = h.clone();
  const auto alpha = TestTensor::filled({1}, place(), 0.5);
  const auto gamma = vector("gamma");
  const auto beta = vector("beta");
  for (const Tensor& bias : {beta.tensor(), Tensor()}) {
    const auto sum = before.clone();
    const auto y = matrix("overwritten");
    const auto expected_y = matrix("overwritten");
    reference::Summary seen(place().device);
    ops::add_dyt(x, seen.target(7), alpha, gamma, bias, sum, y);
    expect_sum(x, before, sum);
    expect_magnitudes(seen, sum);
    ops::dyt(sum, alpha, gamma, bias, expected_y);
    EXPECT_EQ(y.values(), expected_y.values());
  }
}

TEST(NormGradients, AgreeWithFiniteDifferences) {
  const Shape shape{5, 7};
  auto x = TestTensor::random(shape, DType::f64, "x");
  auto gamma = TestTensor::random({7}, DType::f64, "gamma");
  auto beta = TestTensor::random({7}, DType::f64, "beta");
  const auto dy = TestTensor::random(shape, DType::f64, "dy");
  const TestTensor y(shape, DType::f64);
  const TestTensor mean({5}, DType::f64);
  const TestTensor rstd({5}, DType::f64);
  {
    const auto loss = [&] {
      ops::rms_norm(x, gamma, kEps, y, rstd);
      return dot(y, dy);
    };
    loss();
    const TestTensor dx(shape, DType::f64);
    const TestTensor dgamma({7}, DType::f64);
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
    const TestTensor dx(shape, DType::f64);
    const TestTensor dgamma({7}, DType::f64);
    const TestTensor dbeta({7}, DType::f64);
    ops::layer_norm_backward(dy, x, gamma, mean, rstd, dx, dgamma, dbeta);
    expect_gradient(loss, x, dx, "layer dx");
    expect_gradient(loss, gamma, dgamma, "layer dgamma");
    expect_gradient(loss, beta, dbeta, "layer dbeta");
  }
}

// A tensor-parallel rank may hold no row at all.
TEST(NormGradients, OfNoRowsAddNothing) {
  const TestTensor nothing({0, 7}, DType::f32);
  const TestTensor no_rstd({0}, DType::f32);
  const auto gamma = TestTensor::filled({7}, DType::f32, 1.0);
  const auto dgamma = TestTensor::filled({7}, DType::f32, 3.0);
  ops::rms_norm(nothing, gamma, kEps, nothing, no_rstd);
  ops::rms_norm_backward(nothing, nothing, gamma, no_rstd, nothing, dgamma);
  EXPECT_THAT(dgamma.values(), ::testing::Each(3.0));
}

}  // namespace
}  // namespace headroom
