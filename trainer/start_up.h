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

// Throws ExitCode::usage when config.device asks for what this machine or build does not have.
void check_device(const RunConfig& config);

// Throws ExitCode::communication when the launcher started several processes that each believe they are alone.
void refuse_lonely_ranks(const Communicator& world);

}  // namespace headroom
