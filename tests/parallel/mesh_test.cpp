// Where ranks sit in a mesh, and layouts that do not fit the ranks.
#include "parallel/mesh.h"

#include <gtest/gtest.h>

#include "tests/mpi_world.h"

namespace headroom {
namespace {

std::int64_t sum_of_ranks(Communicator& group, int own) {
  std::vector<std::int64_t> value = {own};
  group.all_reduce(std::span<std::int64_t>(value), Reduction::sum);
  return value[0];
}

TEST(Mesh, PlacesRanksForEveryFactorisation) {
  const int size = test_runtime().size();
  for (int tensor = 1; tensor <= size; ++tensor) {
    if (size % tensor != 0) continue;
    const Mesh mesh(test_runtime().world(), {size / tensor, tensor});
    const int rank = mesh.world().rank();
    EXPECT_EQ(mesh.tensor().size(), tensor);
    EXPECT_EQ(mesh.data().size(), size / tensor);
    EXPECT_EQ(mesh.tensor().rank(), rank % tensor);
    EXPECT_EQ(mesh.data().rank(), rank / tensor);
    // The members too, not only their number: adjacent ranks share a model, every tensor-th rank its shard.
    std::int64_t neighbours = 0;
    std::int64_t replicas = 0;
    for (int other = 0; other < size; ++other) {
      if (other / tensor == rank / tensor) neighbours += other;
      if (other % tensor == rank % tensor) replicas += other;
    }
    EXPECT_EQ(sum_of_ranks(mesh.tensor(), rank), neighbours);
    EXPECT_EQ(sum_of_ranks(mesh.data(), rank), replicas);
  }
}

TEST(Mesh, OfOneRankNeedsNoLauncher) {
  const Mesh mesh = Mesh::single();
  EXPECT_EQ(mesh.layout(), (Layout{1, 1}));
  EXPECT_EQ(mesh.world().size(), 1);
  EXPECT_EQ(mesh.data().size(), 1);
  EXPECT_EQ(mesh.tensor().size(), 1);
}

// The error's message and hint together.
std::string refusal(Layout layout) {
  try {
    const Mesh mesh(test_runtime().world(), layout);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_config);
    return std::string(error.what()) + " " + error.hint();
  }
  ADD_FAILURE() << "accepted " << layout.data << " x " << layout.tensor;
  return {};
}

TEST(Mesh, RefusesALayoutThatDoesNotFitNamingNumbersAndKeys) {
  const int size = test_runtime().size();
  const std::string text = refusal({size + 1, 1});
  EXPECT_NE(text.find(fmt::format("parallel.data = {} times parallel.tensor = 1 needs {} ranks", size + 1, size + 1)),
            std::string::npos)
      << text;
  EXPECT_NE(text.find(fmt::format("but {} {}", size, size == 1 ? "is" : "are")), std::string::npos) << text;
  EXPECT_NE(text.find(fmt::format("mpirun -n {}", size + 1)), std::string::npos) << text;
  EXPECT_NE(text.find(fmt::format("set parallel.data = {}", size)), std::string::npos) << text;

  EXPECT_NE(refusal({size + 1, size + 1}).find("two numbers whose product is"), std::string::npos);
  EXPECT_NE(refusal({0, size}).find("at least 1"), std::string::npos);
  EXPECT_NE(refusal({-1, -size}).find("at least 1"), std::string::npos);
}

}  // namespace
}  // namespace headroom
