// The gradient's norm over every layout of the ranks: each logical element once, padding and copies not at all.
#include <gtest/gtest.h>

#include "optim/adamw.h"
#include "tests/arena_for.h"
#include "tests/mpi_world.h"

namespace headroom {
namespace {

TEST(GradientNorm, CountsEveryLogicalElementOnce) {
  const int ranks = test_runtime().size();
  for (int tensor = 1; tensor <= ranks; tensor *= 2) {
    SCOPED_TRACE(fmt::format("{}x{}", ranks / tensor, tensor));
    const Mesh mesh(test_runtime().world(), {ranks / tensor, tensor});
    ParameterStore store;
    const auto declare = [&](const char* name, Shape shape, Partition partition) {
      return store.declare({.name = name, .logical = shape, .partition = partition}, mesh.tensor().rank(), tensor);
    };
    const std::size_t rows = declare("rows", {8, 3}, Partition::rows);
    const std::size_t columns = declare("columns", {5, 4}, Partition::columns);
    const std::size_t norm = declare("norm", {7}, Partition::replicated);
    store.finalize(DType::f64, mesh.data().size(), 16);
    const auto memory = arena_for(store);
    for (const auto& [index, value] : {std::pair{rows, 2.0}, std::pair{columns, 1.0}, std::pair{norm, 3.0}}) {
      for (double& gradient : store[index].gradient.span<double>()) gradient = value;
    }
    const OptimizerShard shard(store, mesh.data().rank(), mesh.data().size());
    AdamW optimizer(store, shard, mesh, OptimConfig{});
    const auto state = arena_for(optimizer);
    Number squares(7.0);
    optimizer.sum_of_squares(squares);
    // 24 elements of 2, 20 of 1, 7 of 3.
    EXPECT_DOUBLE_EQ(squares.value(), 24 * 4.0 + 20 * 1.0 + 7 * 9.0);
  }
}

}  // namespace
}  // namespace headroom
