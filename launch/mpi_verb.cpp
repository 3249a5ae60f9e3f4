#include "launch/mpi_verb.h"

#include <chrono>
#include <csignal>
#include <thread>

#include "launch/failure.h"
#include "parallel/launcher.h"

namespace headroom {
namespace {

// How long a failing rank waits for the others to fail too before it ends them.
constexpr double kPatience = 2.0;  // seconds

// Some launchers end all processes when the first one fails: the one that speaks is given the time to.
constexpr std::chrono::seconds kTimeToSpeak{1};

// srun --kill-on-bad-exit terminates the other ranks as soon as the first one ends, and passes on the largest status,
// 143 of those that it caught on their way out: a rank that is about to end with a code of its own does not hear it.
void end_with_own_code() {
  std::signal(SIGTERM, SIG_IGN);
}

// Several processes that each believe they are alone: one says so, the others end with the same code.
ExitCode refuse(const LonelyRank& lonely) {
  end_with_own_code();
  if (lonely.speaks) throw Error(ExitCode::usage, lonely.message, lonely.hint);
  std::this_thread::sleep_for(kTimeToSpeak);
  return ExitCode::usage;
}

}  // namespace

ExitCode run_on_all_ranks(const std::function<ExitCode(ParallelRuntime&)>& work) {
  if (const auto lonely = lonely_before_start(process_environment, rank_finding())) return refuse(*lonely);
  ParallelRuntime runtime(nullptr, nullptr);
  if (const auto lonely = lonely_after_start(runtime.size(), process_environment)) return refuse(*lonely);
  try {
    const ExitCode code = work(runtime);
    if (code != ExitCode::done) end_with_own_code();
    return code;
  } catch (...) {
    end_with_own_code();
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
