// Where ranks sit in a mesh, and layouts that do not fit the ranks.
#include "parallel/mesh.h"
#include "parallel/imagined_communicator.h"

#include <gtest/gtest.h>

#include "tests/parallel/place.h"

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

// The groups of a mesh for a device exchange that device's tensors; the world is for control.
template <class Place>
using MeshOf = AtPlace<Place>;
TYPED_TEST_SUITE(MeshOf, Places, PlaceNames);

TYPED_TEST(MeshOf, ADeviceExchangesItsTensors) {
  const int size = test_runtime().size();
  for (int tensor = 1; tensor <= size; ++tensor) {
    if (size % tensor != 0) continue;
    const Mesh mesh(test_runtime().world(), {size / tensor, tensor}, TypeParam::kDevice, TypeParam::kTransport);
    const int rank = mesh.world().rank();
    // The sum over the data ranks of the sums over the tensor ranks is the sum over all, in integers to the bit.
    const Placed<std::int64_t> values(numbers<std::int64_t>(rank, 0, 1013), TypeParam::kDevice);
    mesh.tensor().all_reduce(values.tensor(), Reduction::sum);
    mesh.data().all_reduce(values.tensor(), Reduction::sum);
    EXPECT_TRUE(same_bits(values.values(), reduced_numbers<std::int64_t>(size, 0, 1013, Reduction::sum)));
    const auto whole = unwritten<std::int64_t>(size / tensor, TypeParam::kDevice);
    const Placed<std::int64_t> own({rank}, TypeParam::kDevice);
    mesh.data().all_gather(own.tensor(), whole.tensor());
    for (int other = 0; other < size / tensor; ++other) {
      EXPECT_EQ(whole.values()[static_cast<std::size_t>(other)], other * tensor + rank % tensor);
    }
    EXPECT_EQ(mesh.transport().empty(), size == 1);
  }
}

TEST(Mesh, Imagined) {
  for (int rank = 0; rank < 12; ++rank) {
    const Mesh mesh = Mesh::imagined({4, 3}, rank);
    EXPECT_EQ(mesh.layout(), (Layout{4, 3}));
    EXPECT_EQ(mesh.world().rank(), rank);
    EXPECT_EQ(mesh.world().size(), 12);
    EXPECT_EQ(mesh.data().rank(), rank / 3);
    EXPECT_EQ(mesh.data().size(), 4);
    EXPECT_EQ(mesh.tensor().rank(), rank % 3);
    EXPECT_EQ(mesh.tensor().size(), 3);
  }
  EXPECT_THROW(Mesh::imagined({4, 3}, 12), Error) << "no such rank";
  EXPECT_THROW(Mesh::imagined({0, 3}, 0), Error) << "no such layout";
}

TEST(ImaginedCommunicator, DoesNotCommunicate) {
  const auto group = make_imagined_communicator(1, 3);
  std::vector<float> whole(6);
  const Tensor tensor = tensor_of(whole);
  const Tensor own = tensor.flat_range(2, 2);
  std::vector<std::int64_t> integers(1);
  std::vector<double> reals(1);
  const auto refused = [](const auto& call) {
    try {
      call();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::internal) << error.what();
      return true;
    }
    return false;
  };
  EXPECT_TRUE(refused([&] { group->all_reduce(tensor, Reduction::sum); }));
  EXPECT_TRUE(refused([&] { group->all_gather(own, tensor); }));
  EXPECT_TRUE(refused([&] { group->all_gather_async(own, tensor); }));
  EXPECT_TRUE(refused([&] { group->reduce_scatter(tensor, own); }));
  EXPECT_TRUE(refused([&] { group->reduce_scatter_async(tensor, own); }));
  EXPECT_TRUE(refused([&] { group->gather_bytes({}, 0); }));
  EXPECT_TRUE(refused([&] { group->broadcast_bytes({}, 0); }));
  EXPECT_TRUE(refused([&] { group->all_reduce(std::span<double>(reals), Reduction::sum); }));
  EXPECT_TRUE(refused([&] { group->all_reduce(std::span<std::int64_t>(integers), Reduction::sum); }));
  EXPECT_TRUE(refused([&] { group->barrier(); }));
  EXPECT_TRUE(refused([&] { group->split(0, 0); }));
  EXPECT_EQ(group->traffic().bytes, 0);
  EXPECT_EQ(group->seconds_waiting(), 0.0);
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
