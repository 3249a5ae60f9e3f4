#include "parallel/mpi_handles.h"

#include "base/activity.h"

namespace headroom::mpi {

void check(int code, std::string_view call, int rank, int size) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  const bool known = MPI_Error_string(code, text, &length) == MPI_SUCCESS;
  const std::string who = rank < 0 ? "" : fmt::format(" on rank {} of {}", rank, size);
  throw Error(ExitCode::communication,
              fmt::format("{} failed{}: {} (MPI error {})", call, who, known ? text : "no description", code),
              "A rank or the network between them failed; look at the first error of all ranks' logs.");
}

Comm::~Comm() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (comm_ != MPI_COMM_NULL && finalized == 0) MPI_Comm_free(&comm_);
}

Comm Comm::duplicate(MPI_Comm from) {
  const Activity activity("MPI_Comm_dup");
  MPI_Comm copy = MPI_COMM_NULL;
  check(MPI_Comm_dup(from, &copy), "MPI_Comm_dup", -1, 0);
  Comm comm(copy);
  check(MPI_Comm_set_errhandler(copy, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler", -1, 0);
  return comm;
}

Comm Comm::split(MPI_Comm from, int color, int key) {
  const Activity activity("MPI_Comm_split");
  MPI_Comm part = MPI_COMM_NULL;
  check(MPI_Comm_split(from, color, key, &part), "MPI_Comm_split", -1, 0);
  Comm comm(part);
  check(MPI_Comm_set_errhandler(part, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler", -1, 0);
  return comm;
}

}  // namespace headroom::mpi
