// A library whose MPI_Abort does not come back, as it may with a network that is gone. The suite expects that the
// process ends all the same, with the status that it was to end with.
#include <mpi.h>
#include <unistd.h>

#include <cstdio>

#include "parallel/runtime.h"

extern "C" int MPI_Abort(MPI_Comm, int status) {
  std::fprintf(stderr, "MPI_Abort(%d) hangs\n", status);
  for (;;) ::pause();
}

int main(int argc, char** argv) {
  using namespace headroom;
  ParallelRuntime runtime(&argc, &argv);
  std::printf("pid %d\n", ::getpid());
  std::fflush(stdout);
  runtime.world()->barrier();
  if (runtime.rank() != 1) {
    for (;;) ::pause();
  }
  abort_all_ranks(static_cast<int>(ExitCode::disk_full));
}
