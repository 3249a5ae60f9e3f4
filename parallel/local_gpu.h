// Which GPU of its host a rank works on.
#pragma once

#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/launcher.h"

namespace headroom {

// This rank's number among those of its host, as the launcher counts (OMPI_COMM_WORLD_LOCAL_RANK, MPI_LOCALRANKID,
// SLURM_LOCALID); where no launcher says it, by the names of the ranks' hosts.
int local_rank(const EnvironmentLookup& lookup, const std::vector<std::string>& hosts, int rank);

struct LocalGpu {
  int index = 0;     // among those the process sees
  std::string name;  // as Backend::devices says
  std::string note;  // for the start-up: which ranks share a GPU; empty if none do. The same on every rank.
};

// Selects the GPU number `local_rank` modulo the GPUs this process sees, before anything is made on it. Collective.
// Throws ExitCode::usage on every rank, naming rank and host, where a rank has none.
LocalGpu select_local_gpu(Communicator& world);

}  // namespace headroom
