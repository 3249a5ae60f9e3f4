#include "parallel/mpi_group.h"

namespace headroom {

MpiGroup::MpiGroup(mpi::Comm comm, std::shared_ptr<Underway> underway)
    : comm_(std::move(comm)), underway_(std::move(underway)) {
  check(MPI_Comm_rank(comm_.get(), &rank_), "MPI_Comm_rank");
  check(MPI_Comm_size(comm_.get(), &size_), "MPI_Comm_size");
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
