#include "parallel/mpi_group.h"

#include <numeric>

namespace headroom {
namespace {

// By rank of `comm`. Asks nobody.
std::vector<int> world_ranks_of(MPI_Comm comm, int rank, int size) {
  std::vector<int> own(static_cast<std::size_t>(size));
  std::vector<int> world(own.size());
  std::iota(own.begin(), own.end(), 0);
  MPI_Group members = MPI_GROUP_NULL;
  MPI_Group all = MPI_GROUP_NULL;
  mpi::check(MPI_Comm_group(comm, &members), "MPI_Comm_group", rank, size);
  mpi::check(MPI_Comm_group(MPI_COMM_WORLD, &all), "MPI_Comm_group", rank, size);
  const int code = MPI_Group_translate_ranks(members, size, own.data(), all, world.data());
  MPI_Group_free(&members);
  MPI_Group_free(&all);
  mpi::check(code, "MPI_Group_translate_ranks", rank, size);
  return world;
}

}  // namespace

MpiGroup::MpiGroup(mpi::Comm comm, std::shared_ptr<Underway> underway)
    : comm_(std::move(comm)), underway_(std::move(underway)) {
  check(MPI_Comm_rank(comm_.get(), &rank_), "MPI_Comm_rank");
  check(MPI_Comm_size(comm_.get(), &size_), "MPI_Comm_size");
  world_ranks_ = world_ranks_of(comm_.get(), rank_, size_);
  int* limit = nullptr;
  int found = 0;
  check(MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, static_cast<void*>(&limit), &found), "MPI_Comm_get_attr");
  last_tag_ = found != 0 ? *limit : 32767;  // what the standard promises at least
}

int MpiGroup::next_tag() {
  tag_ = tag_ == last_tag_ ? 0 : tag_ + 1;
  return tag_;
}

}  // namespace headroom
