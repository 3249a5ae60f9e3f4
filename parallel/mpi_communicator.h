// The Communicator over MPI, for host memory.
#pragma once

#include <memory>

#include "parallel/communicator.h"

namespace headroom {

// All ranks of a running MPI. Throws ExitCode::communication when MPI fails.
std::unique_ptr<Communicator> make_mpi_world();

}  // namespace headroom
