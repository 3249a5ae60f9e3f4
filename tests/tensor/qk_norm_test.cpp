// The norm of query and key heads is RMS norm on each head's vector: checked against that, and by finite differences.
#include "tests/tensor/reference.h"

namespace headroom {
namespace {

using reference::dot;
using reference::expect_close;
using reference::expect_gradient;
using reference::TestTensor;
using reference::tolerance;

constexpr double kEps = 1e-5;

class QkNorm : public reference::OverPlaces {};
HEADROOM_OVER_PLACES(QkNorm);

TEST_P(QkNorm, NormsEveryQueryAndKeyHeadAndCopiesValues) {
  for (const AttentionShape& shape : {AttentionShape{1, 1, 1, 1, 2}, AttentionShape{2, 5, 6, 2, 8},
                                      AttentionShape{3, 67, 4, 4, 64}, AttentionShape{1, 13, 3, 1, 7}}) {
    const std::int64_t normed = shape.n_heads + shape.n_kv_heads;
    const auto qkv = random({shape.rows(), shape.qkv_width()}, "qkv");
    const auto gamma_q = random({shape.head_dim}, "gamma q");
    const auto gamma_k = random({shape.head_dim}, "gamma k");
    const auto out = random({shape.rows(), shape.qkv_width()}, "overwritten");
    const auto rstd = wide_zeros({shape.rows(), normed});
    ops::qk_norm(qkv, shape, gamma_q, gamma_k, kEps, out, rstd);
    auto expected = qkv.values();
    std::vector<double> expected_rstd;
    for (std::int64_t row = 0; row < shape.rows(); ++row) {
      for (std::int64_t head = 0; head < normed; ++head) {
        double* const values = expected.data() + row * shape.qkv_width() + head * shape.head_dim;
        double squares = 0.0;
        for (std::int64_t i = 0; i < shape.head_dim; ++i) squares += values[i] * values[i];
        expected_rstd.push_back(1.0 / std::sqrt(squares / static_cast<double>(shape.head_dim) + kEps));
        const TestTensor& gamma = head < shape.n_heads ? gamma_q : gamma_k;
        for (std::int64_t i = 0; i < shape.head_dim; ++i) values[i] *= expected_rstd.back() * gamma.at(i);
      }
    }
    expect_close(out, expected, "out");
    expect_close(rstd, expected_rstd, "rstd");
  }
}

TEST_P(QkNorm, BackwardIsThatOfRmsNormOnEveryHead) {
  const AttentionShape shape{2, 37, 6, 2, 24};
  const std::int64_t normed = shape.n_heads + shape.n_kv_heads;
  const std::int64_t head_dim = shape.head_dim;
  const auto qkv = random({shape.rows(), shape.qkv_width()}, "qkv");
  const auto dout = random({shape.rows(), shape.qkv_width()}, "dout");
  const auto gamma_q = random({head_dim}, "gamma q");
  const auto gamma_k = random({head_dim}, "gamma k");
  const auto out = zeros({shape.rows(), shape.qkv_width()});
  const auto rstd = wide_zeros({shape.rows(), normed});
  ops::qk_norm(qkv, shape, gamma_q, gamma_k, kEps, out, rstd);

  const auto dqkv = random({shape.rows(), shape.qkv_width()}, "overwritten");
  const auto dgamma_q = wide_random({head_dim}, "dgamma q before");
  const auto dgamma_k = wide_random({head_dim}, "dgamma k before");
  auto expected = dout.values();
  auto expected_q = dgamma_q.values();
  auto expected_k = dgamma_k.values();
  for (std::int64_t row = 0; row < shape.rows(); ++row) {
    for (std::int64_t head = 0; head < normed; ++head) {
      const std::int64_t first = row * shape.qkv_width() + head * head_dim;
      const TestTensor& gamma = head < shape.n_heads ? gamma_q : gamma_k;
      auto& dgamma = head < shape.n_heads ? expected_q : expected_k;
      const double scale = rstd.at(row * normed + head);
      double mean = 0.0;
      for (std::int64_t i = 0; i < head_dim; ++i) {
        const double n = qkv.at(first + i) * scale;
        mean += dout.at(first + i) * gamma.at(i) * n / static_cast<double>(head_dim);
        dgamma[static_cast<std::size_t>(i)] += dout.at(first + i) * n;
      }
      for (std::int64_t i = 0; i < head_dim; ++i) {
        expected[static_cast<std::size_t>(first + i)] =
            scale * (dout.at(first + i) * gamma.at(i) - qkv.at(first + i) * scale * mean);
      }
    }
  }
  ops::qk_norm_backward(dout, qkv, shape, gamma_q, gamma_k, rstd, dqkv, dgamma_q, dgamma_k);
  expect_close(dqkv, expected, "dqkv");
  expect_close(dgamma_q, expected_q, "dgamma q");
  expect_close(dgamma_k, expected_k, "dgamma k");
}

TEST(QkNormGradients, AgreeWithFiniteDifferences) {
  const AttentionShape shape{1, 3, 4, 2, 5};
  const Shape matrix{shape.rows(), shape.qkv_width()};
  auto qkv = TestTensor::random(matrix, DType::f64, "qkv");
  auto gamma_q = TestTensor::random({5}, DType::f64, "gamma q");
  auto gamma_k = TestTensor::random({5}, DType::f64, "gamma k");
  const auto dout = TestTensor::random(matrix, DType::f64, "dout");
  const TestTensor out(matrix, DType::f64);
  const TestTensor rstd({3, 6}, DType::f64);
  const auto loss = [&] {
    ops::qk_norm(qkv, shape, gamma_q, gamma_k, kEps, out, rstd);
    return dot(out, dout);
  };
  loss();
  const TestTensor dqkv(matrix, DType::f64);
  const TestTensor dgamma_q({5}, DType::f64);
  const TestTensor dgamma_k({5}, DType::f64);
  ops::qk_norm_backward(dout, qkv, shape, gamma_q, gamma_k, rstd, dqkv, dgamma_q, dgamma_k);
  expect_gradient(loss, qkv, dqkv, "dqkv");
  expect_gradient(loss, gamma_q, dgamma_q, "dgamma q");
  expect_gradient(loss, gamma_k, dgamma_k, "dgamma k");
}

}  // namespace
}  // namespace headroom
