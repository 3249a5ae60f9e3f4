// MPI's handles as owners, and its return codes as exceptions.
#pragma once

#include <mpi.h>

#include <string_view>

#include "base/error.h"

namespace headroom::mpi {

// Throws ExitCode::communication naming the call, the rank and the group's size when `code` is not MPI_SUCCESS.
// rank = -1: not known yet.
void check(int code, std::string_view call, int rank, int size);

// A communicator of our own, freed with the object (unless MPI has ended before).
class Comm {
 public:
  explicit Comm(MPI_Comm comm) : comm_(comm) {}
  ~Comm();
  Comm(Comm&& other) noexcept : comm_(other.comm_) { other.comm_ = MPI_COMM_NULL; }
  Comm(const Comm&) = delete;
  Comm& operator=(const Comm&) = delete;

  MPI_Comm get() const { return comm_; }

  // A copy of `from` whose messages do not mix with its own; errors are returned instead of fatal.
  static Comm duplicate(MPI_Comm from);
  static Comm split(MPI_Comm from, int color, int key);

 private:
  MPI_Comm comm_;
};

}  // namespace headroom::mpi
