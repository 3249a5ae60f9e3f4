// Verbs that run on every rank of an MPI job: one place that starts MPI and ends it when something goes wrong.
#pragma once

#include <functional>

#include "base/error.h"
#include "parallel/runtime.h"

namespace headroom {

// Runs `work` with MPI started. When every rank fails alike, rank 0's Error goes on to the caller and the others leave
// quietly with the same code; when only some ranks fail, each says so with its rank and ends the whole job.
ExitCode run_on_all_ranks(const std::function<ExitCode(ParallelRuntime&)>& work);

}  // namespace headroom
