#include "parallel/mesh.h"

#include "parallel/imagined_communicator.h"

namespace headroom {
namespace {

// Says what to change: the number of ranks, or the layout when the ranks that started can be divided that way.
std::string layout_hint(Layout layout, int ranks) {
  std::string hint =
      fmt::format("Start {} ranks (mpirun -n {}, srun -n {})", layout.ranks(), layout.ranks(), layout.ranks());
  if (ranks % layout.tensor == 0) {
    hint += fmt::format(", or set parallel.data = {}", ranks / layout.tensor);
  } else if (ranks % layout.data == 0) {
    hint += fmt::format(", or set parallel.tensor = {}", ranks / layout.data);
  } else {
    hint += fmt::format(", or set parallel.data and parallel.tensor to two numbers whose product is {}", ranks);
  }
  return hint + ".";
}

void check_layout(Layout layout, int ranks) {
  if (layout.data < 1 || layout.tensor < 1) {
    throw Error(
        ExitCode::bad_config,
        fmt::format("parallel.data = {} and parallel.tensor = {}: both must be at least 1", layout.data, layout.tensor),
        fmt::format("{} ranks are running; the product of the two must be that.", ranks));
  }
  if (layout.ranks() != ranks) {
    throw Error(ExitCode::bad_config,
                fmt::format("parallel.data = {} times parallel.tensor = {} needs {} ranks, but {} running", layout.data,
                            layout.tensor, layout.ranks(), ranks == 1 ? "1 is" : fmt::format("{} are", ranks)),
                layout_hint(layout, ranks));
  }
}

}  // namespace

Mesh::Mesh(std::unique_ptr<Communicator> world, Layout layout, Device device, Transport transport)
    : layout_(layout), world_(std::move(world)) {
  check_layout(layout, world_->size());
  const int rank = world_->rank();
  const int data_rank = rank / layout.tensor;
  const int tensor_rank = rank % layout.tensor;
  // One for the device over all ranks, of which the parts are split; it is not needed after that.
  DeviceCommunicator all = for_device(world_->split(0, rank), device, transport);
  data_ = all.communicator->split(tensor_rank, data_rank);
  tensor_ = all.communicator->split(data_rank, tensor_rank);
  transport_ = std::move(all.transport);
}

Mesh::Mesh(Layout layout, std::unique_ptr<Communicator> world, std::unique_ptr<Communicator> data,
           std::unique_ptr<Communicator> tensor)
    : layout_(layout), world_(std::move(world)), data_(std::move(data)), tensor_(std::move(tensor)) {}

Mesh Mesh::single() {
  return Mesh(make_self_communicator(), Layout{});
}

Mesh Mesh::imagined(Layout layout, int rank) {
  check_layout(layout, layout.ranks());
  return Mesh(layout, make_imagined_communicator(rank, layout.ranks()),
              make_imagined_communicator(rank / layout.tensor, layout.data),
              make_imagined_communicator(rank % layout.tensor, layout.tensor));
}

}  // namespace headroom
