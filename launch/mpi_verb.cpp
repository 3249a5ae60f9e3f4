#include "launch/mpi_verb.h"

#include "launch/failure.h"

namespace headroom {
namespace {

// How long a failing rank waits for the others to fail too before it ends them.
constexpr double kPatience = 2.0;  // seconds

}  // namespace

ExitCode run_on_all_ranks(const std::function<ExitCode(ParallelRuntime&)>& work) {
  ParallelRuntime runtime(nullptr, nullptr);
  try {
    return work(runtime);
  } catch (...) {
    const Failure failure = current_failure();
    if (runtime.all_failed_together(kPatience)) {
      // Printed before MPI ends: a launcher may end rank 0 as soon as another rank's failure reaches it.
      if (runtime.rank() == 0) print_failure(failure);
      return failure.code;
    }
    print_failure(failure, fmt::format("rank {}: ", runtime.rank()));
    runtime.abort(static_cast<int>(failure.code));
  }
}

}  // namespace headroom
