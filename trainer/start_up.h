// From processes to a mesh: how many ranks, how many threads each, and what a user wants to see of it before the
// first step.
#pragma once

#include "parallel/runtime.h"
#include "trainer/config.h"

namespace headroom {

// The layout that the config asks for on this many ranks: parallel.data = 0 takes what parallel.tensor leaves.
// Throws ExitCode::bad_config naming the numbers when they do not fit.
Layout layout_for(const RunConfig& config, int ranks);

// Sets this process's threads: parallel.threads, or this host's usable cores shared out over its ranks. Collective.
// Returns the number.
int set_threads(const RunConfig& config, Communicator& world);

// Where the model computes: what config.device asks for, or for "auto" a GPU if there is one. Throws ExitCode::usage
// saying what was seen when the asked-for is not there, and ExitCode::bad_config when train.dtype cannot be computed
// there.
Device device_for(const RunConfig& config);

// The ranks as a mesh on that device, each with a GPU of its own where there are enough. Collective. Throws as Mesh and
// select_local_gpu do.
struct StartedMesh {
  Mesh mesh;
  std::vector<std::string> notes;  // for the start-up: this rank's GPU, the transport; empty on a CPU
};
StartedMesh start_mesh(const RunConfig& config, std::unique_ptr<Communicator> world, Device device);

// Throws ExitCode::communication when the launcher started several processes that each believe they are alone.
void refuse_lonely_ranks(const Communicator& world);

}  // namespace headroom
