// Verbs that run on every rank of an MPI job: one place that starts MPI and ends it when something goes wrong.
#pragma once

#include <functional>

#include "base/error.h"
#include "parallel/runtime.h"

namespace headroom {

// Runs `work` with MPI started; what it throws is reported here. When every rank fails alike, rank 0 says so and all
// end with the failure's code; when only some ranks fail, each says so with its rank and ends the whole job. Processes
// that a launcher started together and that cannot find each other are refused before anything else (parallel/
// launcher.h): one throws ExitCode::communication, the others return it.
ExitCode run_on_all_ranks(const std::function<ExitCode(ParallelRuntime&)>& work);

}  // namespace headroom
