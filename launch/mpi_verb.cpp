#include "launch/mpi_verb.h"

#include <cstdio>

namespace headroom {
namespace {

// How long a failing rank waits for the others to fail too before it ends them.
constexpr double kPatience = 2.0;  // seconds

}  // namespace

ExitCode run_on_all_ranks(const std::function<ExitCode(ParallelRuntime&)>& work) {
  ParallelRuntime runtime(nullptr, nullptr);
  try {
    return work(runtime);
  } catch (const Error& error) {
    if (runtime.size() == 1) throw;
    if (runtime.all_failed_together(kPatience)) {
      if (runtime.rank() == 0) throw;
      return error.code();
    }
    fmt::print(stderr, "error: rank {}: {}\n", runtime.rank(), error.what());
    if (!error.hint().empty()) fmt::print(stderr, "hint: {}\n", error.hint());
    std::fflush(stderr);
    runtime.abort(static_cast<int>(error.code()));
  } catch (const std::exception& error) {
    if (runtime.size() == 1) throw;
    fmt::print(stderr, "error: rank {}: {}\n", runtime.rank(), error.what());
    std::fflush(stderr);
    runtime.abort(static_cast<int>(ExitCode::internal));
  }
}

}  // namespace headroom
