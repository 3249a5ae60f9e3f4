// AdamW against its published update, and the sums and rescaling that clipping and variance control rest on.
#include <omp.h>

#include <limits>

#include "tests/tensor/reference.h"

namespace headroom {
namespace {

using reference::expect_close;
using reference::HostTensor;
using reference::tolerance;

class OptimizerOps : public reference::OverDtypes {};
HEADROOM_OVER_DTYPES(OptimizerOps);

constexpr std::int64_t kCounts[] = {1, 7, 64, 4099, 100'003};

TEST_P(OptimizerOps, AdamwFollowsThePublishedUpdate) {
  for (const std::int64_t count : kCounts) {
    const auto param = random({count}, "param");
    const auto m = zeros({count});
    const auto v = zeros({count});
    auto expected_param = param.values();
    auto expected_m = m.values();
    auto expected_v = v.values();
    for (int t = 1; t <= 3; ++t) {
      const auto grad = random({count}, "grad " + std::to_string(t), 0.1);
      const AdamWStep step{.lr = 1e-2,
                           .beta1 = 0.9,
                           .beta2 = 0.95,
                           .eps = 1e-7,
                           .weight_decay = 0.1,
                           .bias_correction1 = 1.0 - std::pow(0.9, t),
                           .bias_correction2 = 1.0 - std::pow(0.95, t),
                           .grad_scale = 0.3};
      ops::adamw(grad, step, param, m, v);
      for (std::size_t i = 0; i < expected_param.size(); ++i) {
        const double g = step.grad_scale * grad.at(static_cast<std::int64_t>(i));
        expected_m[i] = step.beta1 * expected_m[i] + (1.0 - step.beta1) * g;
        expected_v[i] = step.beta2 * expected_v[i] + (1.0 - step.beta2) * g * g;
        const double direction =
            expected_m[i] / step.bias_correction1 / (std::sqrt(expected_v[i] / step.bias_correction2) + step.eps);
        expected_param[i] -= step.lr * (direction + step.weight_decay * expected_param[i]);
      }
      const double relative = dtype() == DType::f32 ? 1e-6 : tolerance(dtype());
      expect_close(param, expected_param, relative, "param");
      expect_close(m, expected_m, relative, "m");
      expect_close(v, expected_v, relative, "v");
    }
  }
}

TEST_P(OptimizerOps, AdamwWithoutGradientOnlyDecays) {
  const auto param = HostTensor::filled({13}, dtype(), 2.0);
  const auto zero = zeros({13});
  const auto m = zeros({13});
  const auto v = zeros({13});
  const AdamWStep step{.lr = 0.5,
                       .beta1 = 0.9,
                       .beta2 = 0.95,
                       .eps = 1e-8,
                       .weight_decay = 0.25,
                       .bias_correction1 = 0.1,
                       .bias_correction2 = 0.05,
                       .grad_scale = 1.0};
  ops::adamw(zero, step, param, m, v);
  EXPECT_THAT(param.values(), ::testing::Each(1.75));
  EXPECT_THAT(m.values(), ::testing::Each(0.0));
  EXPECT_THAT(v.values(), ::testing::Each(0.0));
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

TEST_P(OptimizerOps, RescalingMovesTheDeviationAndKeepsTheMean) {
  for (const std::int64_t count : kCounts) {
    const auto x = random({count}, "x");
    auto expected = x.values();
    for (double& value : expected) value = (value - 0.25) * 0.125 + 0.25;
    ops::rescale_about(0.25, 0.125, x);
    expect_close(x, expected, tolerance(dtype()), "x");
  }
}

// Sums of every kind are the same bits however many threads share the work.
TEST_P(OptimizerOps, ReductionsDoNotDependOnTheNumberOfThreads) {
  const auto x = random({1031, 97}, "x");
  const auto dy = random({1031, 97}, "dy");
  const auto gamma = random({97}, "gamma");
  const auto alpha = HostTensor::filled({1}, dtype(), 0.75);
  const AttentionShape shape{1, 1031, 6, 3, 8};
  const auto qkv = random({1031, shape.qkv_width()}, "qkv");
  const auto dqkv_above = random({1031, shape.qkv_width()}, "dqkv");
  const auto dout = random({1031, shape.query_width()}, "dout");
  const auto out = random({1031, shape.query_width()}, "out");
  const auto mass = HostTensor::filled({1, 6, 1031}, dtype(), 0.3);
  const auto key = random({3, 8}, "key");
  const auto gamma_head = random({8}, "gamma head");
  const auto everything = [&](int threads) {
    const int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    std::vector<double> results = {ops::sum(x), ops::sum_of_squares(x, 0.5)};
    const auto y = zeros({1031, 97});
    const auto mean = zeros({1031});
    const auto rstd = zeros({1031});
    const auto dx = zeros({1031, 97});
    const auto dgamma = zeros({97});
    const auto dbeta = zeros({97});
    const auto dalpha = zeros({1});
    const auto dbias = zeros({97});
    const auto dqkv = zeros({1031, shape.qkv_width()});
    const auto dkey = zeros({3, 8});
    const auto dvalue = zeros({3, 8});
    const auto head_rstd = zeros({1031, 9});
    const auto dgamma_q = zeros({8});
    const auto dgamma_k = zeros({8});
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
