// AdamW against its published update, and the sums and rescaling that clipping and variance control rest on.
#include <omp.h>

#include <limits>
#include <optional>
#include <tuple>

#include "tests/tensor/reference.h"

namespace headroom {
namespace {

using reference::expect_close;
using reference::Place;
using reference::TestTensor;
using reference::tolerance;

// Pieces on a device.
TestTensor table_of(const std::vector<Piece>& pieces, Device device) {
  TestTensor table({static_cast<std::int64_t>(pieces.size()), Piece::kWords}, DType::i64, device);
  upload_bytes(std::as_bytes(std::span<const Piece>(pieces)), table);
  return table;
}

// A flat block of kBlock elements of which three pieces count, two of them of one group; the state is packed.
constexpr std::int64_t kBlock = 5003;
constexpr std::int64_t kState = 3900;
const std::vector<Piece> kPieces = {
    {.flat = 16, .state = 0, .length = 2000, .group = 1, .flags = Piece::kDecay},
    {.flat = 2049, .state = 2000, .length = 1, .group = 0, .flags = 0},  // where no 16-byte access is aligned
    {.flat = 3101, .state = 2001, .length = 1899, .group = 1, .flags = Piece::kDecay},
};

class OptimizerOps : public reference::OverPlaces {
 protected:
  Place f64_place() const { return {place().device, DType::f64}; }
  TestTensor numbers(const std::vector<double>& values) const {
    TestTensor result({static_cast<std::int64_t>(values.size())}, f64_place());
    for (std::size_t i = 0; i < values.size(); ++i) result.set(static_cast<std::int64_t>(i), values[i]);
    return result;
  }
  // Values, and with bf16 their f32 originals for the pieces' state.
  struct TestWeights {
    TestTensor values;
    std::optional<TestTensor> master;
    Weights weights() const { return {values, master ? master->tensor() : Tensor()}; }
    // The exact number behind element i of a piece.
    double at(const Piece& piece, std::int64_t i) const {
      return master ? master->at(piece.state + i) : values.at(piece.flat + i);
    }
  };
  TestWeights weights_of(std::string_view name) const {
    TestWeights result{random({kBlock}, name), std::nullopt};
    if (dtype() == place().wide()) return result;
    result.master.emplace(Shape{kState}, place().wide(), place().device);
    const auto exact = wide_random({kBlock}, name);
    for (const Piece& piece : kPieces) {
      for (std::int64_t i = 0; i < piece.length; ++i) result.master->set(piece.state + i, exact.at(piece.flat + i));
    }
    return result;
  }
};
HEADROOM_OVER_PLACES(OptimizerOps);

constexpr std::int64_t kCounts[] = {1, 7, 64, 4099, 100'003};

AdamWStep step_constants(int step) {
  return {.lr = 1e-2,
          .beta1 = 0.9,
          .beta2 = 0.95,
          .eps = 1e-7,
          .weight_decay = 0.1,
          .bias_correction1 = 1.0 - std::pow(0.9, step),
          .bias_correction2 = 1.0 - std::pow(0.95, step)};
}

TEST_P(OptimizerOps, AdamwFollowsThePublishedUpdateInItsPiecesOnly) {
  const auto table = table_of(kPieces, place().device);
  constexpr double kScale = 0.3;
  const auto scale = numbers({kScale});
  const TestWeights weights = weights_of("param");
  const auto m = wide_zeros({kState});
  const auto v = wide_zeros({kState});
  const auto untouched = weights.values.values();
  std::vector<double> expected_p(kState), expected_m(kState), expected_v(kState);
  for (const Piece& piece : kPieces) {
    for (std::int64_t i = 0; i < piece.length; ++i) {
      expected_p[static_cast<std::size_t>(piece.state + i)] = weights.at(piece, i);
    }
  }
  const double close = place().wide() == DType::f32 ? 1e-6 : tolerance(DType::f64);
  for (int t = 1; t <= 3; ++t) {
    const auto grads = wide_random({kBlock}, "grad " + std::to_string(t), 0.1);
    const AdamWStep step = step_constants(t);
    ops::adamw(grads, table, step, scale, weights.weights(), m, v);
    for (const Piece& piece : kPieces) {
      for (std::int64_t i = 0; i < piece.length; ++i) {
        const auto at = static_cast<std::size_t>(piece.state + i);
        const double g = kScale * grads.at(piece.flat + i);
        expected_m[at] = step.beta1 * expected_m[at] + (1.0 - step.beta1) * g;
        expected_v[at] = step.beta2 * expected_v[at] + (1.0 - step.beta2) * g * g;
        const double direction =
            expected_m[at] / step.bias_correction1 / (std::sqrt(expected_v[at] / step.bias_correction2) + step.eps);
        const double decay = (piece.flags & Piece::kDecay) != 0 ? step.weight_decay : 0.0;
        expected_p[at] -= step.lr * (direction + decay * expected_p[at]);
      }
    }
    expect_close(m, expected_m, close, "m");
    expect_close(v, expected_v, close, "v");
    if (weights.master) expect_close(*weights.master, expected_p, close, "master weights");
  }
  std::vector<double> expected_values = untouched;
  for (const Piece& piece : kPieces) {
    for (std::int64_t i = 0; i < piece.length; ++i) {
      expected_values[static_cast<std::size_t>(piece.flat + i)] = expected_p[static_cast<std::size_t>(piece.state + i)];
    }
  }
  expect_close(weights.values, expected_values, dtype() == DType::bf16 ? 4e-3 : close, "values");
  for (const std::int64_t outside : {0, 15, 2016, 2048, 2050, 3100, 5000, 5002}) {
    EXPECT_EQ(weights.values.at(outside), untouched[static_cast<std::size_t>(outside)]);
  }
}

TEST_P(OptimizerOps, AStepNotToBeMadeChangesNothing) {
  const auto table = table_of(kPieces, place().device);
  const TestWeights weights = weights_of("param");
  const auto grads = wide_random({kBlock}, "grad");
  const auto m = wide_random({kState}, "m");
  const auto v = wide_random({kState}, "v");
  const auto before = std::tuple(weights.values.values(), m.values(), v.values());
  ops::adamw(grads, table, step_constants(1), numbers({-1.0}), weights.weights(), m, v);
  EXPECT_EQ(std::tuple(weights.values.values(), m.values(), v.values()), before);
}

TEST_P(OptimizerOps, AdamwWithoutGradientOnlyDecays) {
  const auto table =
      table_of({{.flat = 0, .state = 0, .length = 13, .group = 0, .flags = Piece::kDecay}}, place().device);
  TestWeights weights{TestTensor::filled({13}, place(), 2.0), std::nullopt};
  if (dtype() != place().wide()) weights.master = TestTensor::filled({13}, wide_place(), 2.0);
  const auto zero = wide_zeros({13});
  const auto m = wide_zeros({13});
  const auto v = wide_zeros({13});
  AdamWStep step = step_constants(1);
  step.lr = 0.5;
  step.weight_decay = 0.25;
  ops::adamw(zero, table, step, numbers({1.0}), weights.weights(), m, v);
  EXPECT_THAT(weights.values.values(), ::testing::Each(1.75));
  EXPECT_THAT(m.values(), ::testing::Each(0.0));
  EXPECT_THAT(v.values(), ::testing::Each(0.0));
}

// On a GPU the moments may be kept in bf16, each rounded once a step.
TEST(AdamwMoments, MayBeKeptInBf16) {
  HEADROOM_NEEDS(reference::kGpuBf16);
  const auto table = table_of(kPieces, Device::cuda);
  const auto scale = TestTensor::filled({1}, Place{Device::cuda, DType::f64}, 1.0);
  const auto run = [&](DType moments) {
    const auto values = TestTensor::random({kBlock}, reference::kGpuF32, "param");
    const TestTensor m({kState}, moments, Device::cuda);
    const TestTensor v({kState}, moments, Device::cuda);
    for (int t = 1; t <= 3; ++t) {
      const auto grads = TestTensor::random({kBlock}, reference::kGpuF32, "grad " + std::to_string(t), 0.1);
      ops::adamw(grads, table, step_constants(t), scale, Weights{values, {}}, m, v);
    }
    return std::tuple(values.values(), m.values(), v.clone());
  };
  const auto [values, m, v] = run(DType::bf16);
  const auto [exact_values, exact_m, exact_v] = run(DType::f32);
  expect_close(v, exact_v.values(), 1e-2, "v");
  for (std::size_t i = 0; i < m.size(); ++i) EXPECT_NEAR(m[i], exact_m[i], 1e-2 * (0.02 + std::abs(exact_m[i])));
  EXPECT_NE(m, exact_m);
  for (std::size_t i = 0; i < values.size(); ++i) ASSERT_NEAR(values[i], exact_values[i], 1.5e-2);
}

TEST_P(OptimizerOps, PieceSumsAreOfEachGroup) {
  const auto table = table_of(kPieces, place().device);
  const TestWeights weights = weights_of("x");
  const std::vector<double> centers = {0.25, -0.5};
  for (const int power : {1, 2}) {
    for (const bool centered : {false, true}) {
      const auto sums = numbers({1.0, 2.0});
      std::vector<double> expected = {1.0, 2.0};
      for (const Piece& piece : kPieces) {
        for (std::int64_t i = 0; i < piece.length; ++i) {
          const double x = weights.at(piece, i) - (centered ? centers[static_cast<std::size_t>(piece.group)] : 0.0);
          expected[static_cast<std::size_t>(piece.group)] += power == 1 ? x : x * x;
        }
      }
      const auto given = numbers(centers);
      ops::piece_sums(weights.weights(), table, centered ? given.tensor() : Tensor(), power, sums);
      for (std::int64_t group = 0; group < 2; ++group) {
        EXPECT_NEAR(sums.at(group), expected[static_cast<std::size_t>(group)], 1e-9) << power << centered;
      }
    }
  }
}

// More pieces than a block has threads, and groups whose pieces lie apart.
TEST_P(OptimizerOps, PieceSumsOfManyPieces) {
  constexpr std::int64_t kMany = 613;
  std::vector<Piece> pieces;
  for (std::int64_t i = 0; i < kMany; ++i) {
    pieces.push_back({.flat = 8 * i, .state = 7 * i, .length = 7, .group = i % 3, .flags = 0});
  }
  const auto table = table_of(pieces, place().device);
  const auto x = random({8 * kMany}, "x");
  const auto sums = numbers({0.0, 0.0, 0.0});
  std::vector<double> expected(3, 0.0);
  for (const Piece& piece : pieces) {
    for (std::int64_t i = 0; i < piece.length; ++i) {
      expected[static_cast<std::size_t>(piece.group)] += x.at(piece.flat + i) * x.at(piece.flat + i);
    }
  }
  ops::piece_sums(Weights{x, {}}, table, Tensor(), 2, sums);
  for (std::int64_t group = 0; group < 3; ++group) {
    EXPECT_NEAR(sums.at(group), expected[static_cast<std::size_t>(group)], 1e-9) << "group " << group;
  }
}

TEST_P(OptimizerOps, SumsAreAddedWithTheirFactor) {
  for (const std::int64_t count : kCounts) {
    const auto x = random({count}, "x");
    const auto out = numbers({5.0});
    double expected = 5.0;
    for (const double value : x.values()) expected += 0.125 * value;
    ops::add_sum(x, 0.125, out);
    EXPECT_NEAR(out.at(0), expected, 1e-12 * static_cast<double>(count));
  }
}

TEST_P(OptimizerOps, GradientScaleIsTheClippingOverTheCountedTokens) {
  struct Case {
    double nll, tokens, squares, divisor, clip, norm, scale;
    StepLimits limits{};
  };
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const Case cases[] = {
      {10.0, 64.0, 4.0, 64.0, 0.0, 2.0, 1.0},   // no limit
      {10.0, 64.0, 4.0, 64.0, 3.0, 2.0, 1.0},   // within it
      {10.0, 64.0, 4.0, 64.0, 0.5, 2.0, 0.25},  // beyond it
      {10.0, 32.0, 4.0, 64.0, 0.0, 4.0, 2.0},   // half of the targets counted
      {10.0, 32.0, 4.0, 64.0, 1.0, 4.0, 0.5},   //
      {kNaN, 64.0, 4.0, 64.0, 1.0, 2.0, -1.0},  // not to be made
      {10.0, 64.0, kInfinity, 64.0, 1.0, kInfinity, -1.0},
      {kInfinity, 64.0, 4.0, 64.0, 1.0, 2.0, -1.0},
      {10.0, 32.0, 4.0, 64.0, 1.0, 4.0, 0.5, {.loss = 10.0 / 32.0, .norm = 4.0}},  // at its limits
      {10.0, 32.0, 4.0, 64.0, 1.0, 4.0, -1.0, {.loss = 0.31, .norm = 4.0}},        // beyond one of them
      {10.0, 32.0, 4.0, 64.0, 1.0, 4.0, -1.0, {.loss = 0.32, .norm = 3.9}},
  };
  for (const Case& c : cases) {
    const auto out = numbers({0.0, 0.0});
    ops::gradient_scale(numbers({c.nll, c.tokens}), numbers({c.squares}), c.divisor, c.clip, c.limits, out);
    EXPECT_EQ(out.at(0), c.norm);
    EXPECT_EQ(out.at(1), c.scale);
  }
  const auto out = numbers({0.0, 0.0});
  ops::gradient_scale(numbers({1.0, 1.0}), numbers({kNaN}), 1.0, 1.0, StepLimits{}, out);
  EXPECT_EQ(out.at(1), -1.0);
}

TEST_P(OptimizerOps, TvrFactorsShrinkWhatGrewAndNothingElse) {
  // Groups: grew beyond the threshold, grew below it, shrank, none of TVR's.
  const auto squares = numbers({4.0 * 100, 1.21 * 100, 0.25 * 100, 9.0 * 100});
  const auto freedom = numbers({100.0, 100.0, 100.0, 100.0});
  const auto targets = numbers({1.0, 1.0, 1.0, 0.0});
  const auto std = numbers({0.0, 0.0, 0.0, 0.0});
  const auto factors = numbers({0.0, 0.0, 0.0, 0.0});
  ops::tvr_factors(squares, freedom, targets, 1.2, numbers({1.0}), std, factors);
  EXPECT_THAT(factors.values(), ::testing::ElementsAre(0.5, 1.0, 1.0, 1.0));
  EXPECT_THAT(std.values(), ::testing::ElementsAre(2.0, ::testing::DoubleEq(1.1), 0.5, 3.0));
  ops::tvr_factors(squares, freedom, targets, 0.1, numbers({1.0}), std, factors);  // a threshold below 1 grows nothing
  EXPECT_THAT(factors.values(), ::testing::ElementsAre(0.5, ::testing::DoubleEq(1.0 / 1.1), 1.0, 1.0));
  ops::tvr_factors(squares, freedom, targets, 1.2, numbers({-1.0}), std, factors);
  EXPECT_THAT(factors.values(), ::testing::Each(1.0));
}

TEST_P(OptimizerOps, RescalingMovesTheDeviationKeepsTheMeanAndZeroesBiases) {
  std::vector<Piece> pieces = kPieces;
  pieces[1].group = 1;
  pieces[1].flags = Piece::kZero;
  pieces[2].group = 0;  // whose factor is 1
  const auto table = table_of(pieces, place().device);
  const TestWeights weights = weights_of("x");
  std::vector<double> expected = weights.values.values();
  for (std::int64_t i = 0; i < pieces[0].length; ++i) {
    expected[static_cast<std::size_t>(pieces[0].flat + i)] = (weights.at(pieces[0], i) - 0.25) * 0.125 + 0.25;
  }
  expected[static_cast<std::size_t>(pieces[1].flat)] = 0.0;
  ops::rescale_pieces(table, numbers({7.0, 0.25}), numbers({1.0, 0.125}), weights.weights());
  expect_close(weights.values, expected, "values");
  if (!weights.master) return;
  EXPECT_NEAR(weights.master->at(1999), expected[16 + 1999], 2e-3);
  EXPECT_EQ(weights.master->at(2000), 0.0);
}

TEST_P(OptimizerOps, SumsAreTakenInF64) {
  for (const std::int64_t count : kCounts) {
    const auto x = random({count}, "x");
    long double sum = 0.0;
    long double squares = 0.0;
    long double centered = 0.0;
    for (const double value : x.values()) {
      sum += value;
      squares += static_cast<long double>(value) * value;
      centered += (static_cast<long double>(value) - 0.75L) * (value - 0.75L);
    }
    EXPECT_NEAR(ops::sum(x), static_cast<double>(sum), 1e-14 * static_cast<double>(count));
    EXPECT_NEAR(ops::sum_of_squares(x, 0.0), static_cast<double>(squares), 1e-13 * static_cast<double>(squares));
    EXPECT_NEAR(ops::sum_of_squares(x, 0.75), static_cast<double>(centered), 1e-13 * static_cast<double>(centered));
  }
}

TEST_P(OptimizerOps, SumsOfNothingAreZero) {
  const auto nothing = zeros({0});
  EXPECT_EQ(ops::sum(nothing), 0.0);
  EXPECT_EQ(ops::sum_of_squares(nothing, 1.0), 0.0);
}

TEST_P(OptimizerOps, NonFiniteNumbersReachTheSum) {
  auto x = random({70'001}, "x");
  x.set(66'000, std::numeric_limits<double>::quiet_NaN());
  EXPECT_TRUE(std::isnan(ops::sum_of_squares(x, 0.0)));
}

// Sums of every kind are the same bits however many threads share the work.
TEST_P(OptimizerOps, ReductionsDoNotDependOnTheNumberOfThreads) {
  const auto x = random({1031, 97}, "x");
  const auto dy = random({1031, 97}, "dy");
  const auto gamma = random({97}, "gamma");
  const auto alpha = TestTensor::filled({1}, place(), 0.75);
  const AttentionShape shape{1, 1031, 6, 3, 8};
  const auto qkv = random({1031, shape.qkv_width()}, "qkv");
  const auto dqkv_above = random({1031, shape.qkv_width()}, "dqkv");
  const auto dout = random({1031, shape.query_width()}, "dout");
  const auto out = random({1031, shape.query_width()}, "out");
  const auto mass = TestTensor::filled({1, 6, 1031}, wide_place(), 0.3);
  const auto key = random({3, 8}, "key");
  const auto gamma_head = random({8}, "gamma head");
  const auto everything = [&](int threads) {
    const int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    std::vector<double> results = {ops::sum(x), ops::sum_of_squares(x, 0.5)};
    const auto y = zeros({1031, 97});
    const auto mean = wide_zeros({1031});
    const auto rstd = wide_zeros({1031});
    const auto dx = zeros({1031, 97});
    const auto dgamma = wide_zeros({97});
    const auto dbeta = wide_zeros({97});
    const auto dalpha = wide_zeros({1});
    const auto dbias = wide_zeros({97});
    const auto dqkv = zeros({1031, shape.qkv_width()});
    const auto dkey = wide_zeros({3, 8});
    const auto dvalue = wide_zeros({3, 8});
    const auto head_rstd = wide_zeros({1031, 9});
    const auto dgamma_q = wide_zeros({8});
    const auto dgamma_k = wide_zeros({8});
    ops::rms_norm(x, gamma, 1e-5, y, rstd);
    ops::rms_norm_backward(dy, x, gamma, rstd, dx, dgamma);
    ops::layer_norm(x, gamma, gamma, 1e-5, y, mean, rstd);
    ops::layer_norm_backward(dy, x, gamma, mean, rstd, dx, dgamma, dbeta);
    ops::dyt_backward(dy, x, alpha, gamma, dx, dalpha, dgamma, dbeta);
    ops::scale_by_backward(dy, x, alpha, y, dalpha);
    ops::bias_backward(dy, dbias);
    ops::qk_norm(qkv, shape, gamma_head, gamma_head, 1e-5, dqkv, head_rstd);
    ops::qk_norm_backward(dqkv_above, qkv, shape, gamma_head, gamma_head, head_rstd, dqkv, dgamma_q, dgamma_k);
    ops::kv_bias_backward(dout, qkv, out, mass, key, key, shape, dqkv, dkey, dvalue);
    for (const auto* tensor : {&y, &mean, &rstd, &dx, &dgamma, &dbeta, &dalpha, &dbias, &dqkv, &dkey, &dvalue,
                               &head_rstd, &dgamma_q, &dgamma_k}) {
      const auto values = tensor->values();
      results.insert(results.end(), values.begin(), values.end());
    }
    omp_set_num_threads(before);
    return results;
  };
  const auto one = everything(1);
  EXPECT_EQ(everything(2), one);
  EXPECT_EQ(everything(3), one);
}

}  // namespace
}  // namespace headroom
