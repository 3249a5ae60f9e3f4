#include "parallel/mpi_handles.h"

#include <algorithm>

namespace headroom::mpi {
namespace {

constexpr int kTag = 0;  // collectives are made in the same order everywhere, so one tag is enough

}  // namespace

void check(int code, std::string_view call, int rank) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw Error(ExitCode::communication, fmt::format("rank {}: {} failed: {}", rank, call, text),
              "A rank or the network between them failed; look at the first error of all ranks' logs.");
}

Comm::~Comm() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (comm_ != MPI_COMM_NULL && finalized == 0) MPI_Comm_free(&comm_);
}

Comm Comm::duplicate(MPI_Comm from) {
  MPI_Comm copy = MPI_COMM_NULL;
  check(MPI_Comm_dup(from, &copy), "MPI_Comm_dup", -1);
  check(MPI_Comm_set_errhandler(copy, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler", -1);
  return Comm(copy);
}

Comm Comm::split(MPI_Comm from, int color, int key) {
  MPI_Comm part = MPI_COMM_NULL;
  check(MPI_Comm_split(from, color, key, &part), "MPI_Comm_split", -1);
  check(MPI_Comm_set_errhandler(part, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler", -1);
  return Comm(part);
}

// A failure while waiting was reported by the call that saw it, or comes out of the next one.
Requests::~Requests() {
  MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE);
}

void Requests::send(const std::byte* data, std::size_t bytes, int to, MPI_Comm comm) {
  for (std::size_t begin = 0; begin < bytes; begin += kPiece) {
    const auto count = static_cast<int>(std::min(kPiece, bytes - begin));
    check(MPI_Isend(data + begin, count, MPI_BYTE, to, kTag, comm, &requests_.emplace_back()), "MPI_Isend", rank_);
  }
}

void Requests::receive(std::byte* data, std::size_t bytes, int from, MPI_Comm comm) {
  for (std::size_t begin = 0; begin < bytes; begin += kPiece) {
    const auto count = static_cast<int>(std::min(kPiece, bytes - begin));
    check(MPI_Irecv(data + begin, count, MPI_BYTE, from, kTag, comm, &requests_.emplace_back()), "MPI_Irecv", rank_);
  }
}

bool Requests::test() {
  int done = 0;
  check(MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done, MPI_STATUSES_IGNORE), "MPI_Testall",
        rank_);
  if (done != 0) requests_.clear();
  return done != 0;
}

void Requests::wait() {
  check(MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE), "MPI_Waitall", rank_);
  requests_.clear();
}

}  // namespace headroom::mpi
