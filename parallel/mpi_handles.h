// MPI's handles as owners, and its return codes as exceptions.
#pragma once

#include <mpi.h>

#include <string_view>
#include <vector>

#include "base/error.h"

namespace headroom::mpi {

// The tag of messages that are waited for where they are sent; exchanges take the tags above it.
constexpr int kControlTag = 0;

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

// Calls f(offset, count) for pieces of `bytes` that an int can count.
template <class F>
void for_each_piece(std::size_t bytes, F f) {
  constexpr std::size_t kPiece = std::size_t{1} << 30;
  for (std::size_t begin = 0; begin < bytes; begin += kPiece) {
    f(begin, static_cast<int>(bytes - begin < kPiece ? bytes - begin : kPiece));
  }
}

}  // namespace headroom::mpi
