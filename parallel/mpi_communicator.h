// The Communicator over MPI, for host memory.
#pragma once

#include <memory>

#include "parallel/communicator.h"

namespace headroom {

// All ranks of a running MPI; for one rank alone the group of one that needs no library. Throws ExitCode::communication
// when MPI fails.
std::unique_ptr<Communicator> make_mpi_world();

}  // namespace headroom
