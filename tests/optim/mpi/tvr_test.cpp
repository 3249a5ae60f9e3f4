// TVR over every layout of the ranks on matrices that lie stacked in memory: each by its own deviation.
#include "optim/tvr.h"

#include <gtest/gtest.h>

#include <cmath>

#include "optim/adamw.h"
#include "tests/arena_for.h"
#include "tests/mpi_world.h"

namespace headroom {
namespace {

constexpr std::int64_t kRows = 12;
constexpr std::int64_t kColumns = 10;
constexpr double kMean = 0.003;

// Half the elements of a logical matrix lie `spread` above its mean, half below: the deviation of n of them is
// spread * sqrt(n / (n - 1)).
double element(std::int64_t index, double spread) {
  return kMean + (index / 2 % 2 == 0 ? spread : -spread);
}
double deviation(double spread) {
  return spread * std::sqrt(kRows * kColumns / (kRows * kColumns - 1.0));
}

struct Stacked {
  std::string name;
  double spread;
  bool shrunk;  // at target 0.01 and threshold 1.2
};
const std::vector<Stacked> kMatrices = {{"q", 0.05, true}, {"k", 0.011, false}, {"v", 0.02, true}};

std::unique_ptr<Arena> declare_and_fill(ParameterStore& store, const Mesh& mesh) {
  const int rank = mesh.tensor().rank();
  const int size = mesh.tensor().size();
  for (const Stacked& matrix : kMatrices) {
    store.declare({.name = matrix.name + ".weight",
                   .logical = {kRows, kColumns},
                   .partition = Partition::rows,
                   .layer = 0,
                   .tvr = true},
                  rank, size);
  }
  for (const Stacked& matrix : kMatrices) {
    store.declare({.name = matrix.name + ".bias",
                   .logical = {kRows},
                   .partition = Partition::rows,
                   .layer = 0,
                   .bias_of_tvr = matrix.name + ".weight"},
                  rank, size);
  }
  store.finalize(DType::f64, mesh.data().size(), 64);  // buckets that cut matrices
  auto memory = arena_for(store);
  for (const Stacked& matrix : kMatrices) {
    const Parameter& weight = store.find(matrix.name + ".weight");
    for (std::int64_t i = 0; i < weight.elements(); ++i) {
      weight.value.data<double>()[i] = element(weight.first * kColumns + i, matrix.spread);
    }
    for (double& value : store.find(matrix.name + ".bias").value.span<double>()) value = 5.0;
  }
  return memory;
}

TEST(Tvr, ShrinksEachOfStackedMatricesByItsOwnDeviation) {
  const int ranks = test_runtime().size();
  OptimConfig config;
  config.tvr.enabled = true;
  config.tvr.target = 0.01;
  config.tvr.threshold = 1.2;
  for (int tensor = 1; tensor <= ranks; tensor *= 2) {
    SCOPED_TRACE(fmt::format("{}x{}", ranks / tensor, tensor));
    const Mesh mesh(test_runtime().world(), {ranks / tensor, tensor});
    ParameterStore store;
    const auto memory = declare_and_fill(store, mesh);
    const OptimizerShard shard(store, mesh.data().rank(), mesh.data().size());
    Tvr tvr(store, shard, mesh, config);
    const auto tables = arena_for(tvr);
    tvr.apply({store.values(), {}}, Number(1.0));
    const TvrReport report = tvr.report();
    gather_parameters(store, shard, mesh);

    EXPECT_EQ(report.matrices, 3);
    EXPECT_EQ(report.rescaled, 2);
    EXPECT_NEAR(report.max_ratio, deviation(0.05) / 0.01, 1e-9);
    EXPECT_NEAR(report.mean_std, (0.01 + deviation(0.011) + 0.01) / 3.0, 1e-12);
    for (const Stacked& matrix : kMatrices) {
      const double factor = matrix.shrunk ? 0.01 / deviation(matrix.spread) : 1.0;
      const Parameter& weight = store.find(matrix.name + ".weight");
      for (std::int64_t i = 0; i < weight.elements(); ++i) {
        const double before = element(weight.first * kColumns + i, matrix.spread);
        EXPECT_NEAR(weight.value.data<double>()[i], kMean + (before - kMean) * factor, 1e-15) << matrix.name << i;
      }
      for (const double value : store.find(matrix.name + ".bias").value.span<double>()) {
        EXPECT_EQ(value, matrix.shrunk ? 0.0 : 5.0) << matrix.name;
      }
    }
  }
}

}  // namespace
}  // namespace headroom
