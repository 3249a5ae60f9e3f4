// From processes to a mesh: how many ranks, how many threads each, and what a user wants to see of it before the
// first step.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "parallel/process_watch.h"
#include "parallel/runtime.h"
#include "trainer/config.h"

namespace headroom {

// The layout that the config asks for on this many ranks: parallel.data = 0 takes what parallel.tensor leaves.
// Throws ExitCode::bad_config naming the numbers when they do not fit.
Layout layout_for(const RunConfig& config, int ranks);

// Where the model computes: what config.device asks for, or for "auto" a GPU if there is one. Throws ExitCode::usage
// saying what was seen when the asked-for is not there, and ExitCode::bad_config when train.dtype cannot be computed
// there.
Device device_for(const RunConfig& config);

// Sets the threads that this rank computes with, and returns them: `wanted`, or where that is 0 this host's usable
// cores shared out over its ranks. Collective.
int set_threads(int wanted, Communicator& world);

// The ranks of a verb, ready to compute: watched, arranged as a mesh, each with its threads and, where there are
// enough, with a GPU of its own.
struct StartedRanks {
  Device device;
  std::unique_ptr<ProcessWatch> watch;  // outlives the mesh, whose exchanges it watches (faults.timeout)
  Mesh mesh;
  int threads;                     // of this rank, as set_threads has it
  std::vector<std::string> notes;  // for the start-up: this rank's GPU, the transport; empty on a CPU
};

// Collective. Throws as device_for, layout_for, Mesh and select_local_gpu do.
StartedRanks start_ranks(const RunConfig& config, ParallelRuntime& runtime);

}  // namespace headroom
