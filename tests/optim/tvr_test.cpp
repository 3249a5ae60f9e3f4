// TVR where the published fixtures do not go: thresholds below one, a matrix of one number, shards with padding.
#include "optim/tvr.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/arena_for.h"

namespace headroom {
namespace {

Parameter matrix(Shape shape) {
  return {.name = "w.weight", .logical = shape, .partition = Partition::rows, .layer = 0, .decay = true, .tvr = true};
}

// TVR on one matrix of these numbers, at this target and threshold.
TvrReport apply_to(ParameterStore& store, const std::vector<double>& numbers, double target, double threshold) {
  std::copy(numbers.begin(), numbers.end(), store.find("w.weight").value.data<double>());
  OptimConfig config;
  config.tvr.enabled = true;
  config.tvr.target = target;
  config.tvr.threshold = threshold;
  const Mesh mesh = Mesh::single();
  const OptimizerShard shard(store, 0, 1);
  Tvr tvr(store, shard, mesh, config);
  const auto memory = arena_for(tvr);
  tvr.apply({store.values(), {}}, Number(1.0));
  return tvr.report();
}

TEST(Tvr, NeverGrowsAMatrixWhateverTheThreshold) {
  ParameterStore store;
  store.declare(matrix({2, 2}), 0, 1);
  store.finalize(DType::f64, 1, 16);
  const auto memory = arena_for(store);
  const std::vector<double> numbers = {1.0, 1.0, -1.0, -1.0};  // deviation sqrt(4 / 3) = 1.155
  const auto values = store.find("w.weight").value.span<double>();

  const TvrReport below = apply_to(store, numbers, 2.0, 0.5);
  EXPECT_NEAR(below.max_ratio, 0.577, 1e-3);
  EXPECT_EQ(below.rescaled, 0);
  EXPECT_EQ(std::vector<double>(values.begin(), values.end()), numbers);

  const TvrReport above = apply_to(store, numbers, 1.0, 0.5);
  EXPECT_EQ(above.rescaled, 1);
  EXPECT_NEAR(above.mean_std, 1.0, 1e-12);
  EXPECT_NEAR(values[0], std::sqrt(0.75), 1e-12);
}

TEST(Tvr, LeavesAMatrixOfOneNumberAlone) {
  ParameterStore store;
  store.declare(matrix({1, 1}), 0, 1);
  store.finalize(DType::f64, 1, 16);
  const auto memory = arena_for(store);
  const TvrReport report = apply_to(store, {3.0}, 0.01, 1.2);
  EXPECT_EQ(report.rescaled, 0);
  EXPECT_EQ(report.max_ratio, 0.0);
  EXPECT_EQ(report.mean_std, 0.0);
  EXPECT_EQ(store.find("w.weight").value.data<double>()[0], 3.0);
}

// Its sums run over whole shards, so a shard may hold nothing but the matrix.
TEST(Tvr, RefusesMatricesThatWouldBePadded) {
  ParameterStore store;
  EXPECT_NO_THROW(store.declare(matrix({6, 5}), 0, 3));
  EXPECT_THROW(store.declare(matrix({7, 5}), 0, 3), Error);
}

}  // namespace
}  // namespace headroom
