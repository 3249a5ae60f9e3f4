#include "parallel/mesh.h"

namespace headroom {

Mesh::Mesh(std::unique_ptr<Communicator> world, Layout layout) : layout_(layout), world_(std::move(world)) {
  if (layout.data < 1 || layout.tensor < 1 || layout.ranks() != world_->size()) {
    throw Error(ExitCode::bad_config,
                fmt::format("a layout of {} data x {} tensor ranks needs {} ranks, but {} started", layout.data,
                            layout.tensor, layout.ranks(), world_->size()),
                "Start that many ranks, or change parallel.data and parallel.tensor.");
  }
  const int rank = world_->rank();
  data_ = world_->split(rank % layout.tensor, rank);
  tensor_ = world_->split(rank / layout.tensor, rank);
}

Mesh Mesh::single() { return Mesh(make_self_communicator(), Layout{}); }

}  // namespace headroom
