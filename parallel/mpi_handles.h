// MPI's handles as owners, and its return codes as exceptions.
#pragma once

#include <mpi.h>

#include <string_view>
#include <vector>

#include "base/error.h"

namespace headroom::mpi {

// Throws ExitCode::communication naming the call and the rank when `code` is not MPI_SUCCESS.
void check(int code, std::string_view call, int rank);

// A communicator of our own, freed with the object.
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

// Sends and receives under way; waits for them when destroyed.
class Requests {
 public:
  explicit Requests(int rank) : rank_(rank) {}
  ~Requests();
  Requests(const Requests&) = delete;
  Requests& operator=(const Requests&) = delete;

  // Messages of any length go in pieces of kPiece bytes, in order.
  void send(const std::byte* data, std::size_t bytes, int to, MPI_Comm comm);
  void receive(std::byte* data, std::size_t bytes, int from, MPI_Comm comm);

  bool test();
  void wait();

  static constexpr std::size_t kPiece = std::size_t{1} << 30;

 private:
  int rank_;
  std::vector<MPI_Request> requests_;
};

}  // namespace headroom::mpi
