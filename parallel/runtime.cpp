#include "parallel/runtime.h"

#include <mpi.h>

#include <chrono>
#include <cstdio>
#include <exception>

#include "base/activity.h"
#include "base/last_resort.h"
#include "parallel/launcher.h"
#include "parallel/mpi_communicator.h"
#include "parallel/mpi_handles.h"

namespace headroom {
namespace {

int world_rank() {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

constexpr unsigned kSecondsToEnd = 10;

[[noreturn]] void end_all_ranks(int status) {
  end_process_within(kSecondsToEnd, status);  // flushing a file may hang, and so may a library that has lost ranks
  std::fflush(nullptr);
  MPI_Abort(MPI_COMM_WORLD, status);
  std::abort();
}

// What std::terminate does once MPI runs: the other ranks would wait for this one for ever.
[[noreturn]] void end_all_ranks_on_terminate() {
  int status = static_cast<int>(ExitCode::internal);
  std::string message = "ended without an exception";
  if (const std::exception_ptr current = std::current_exception()) {
    try {
      std::rethrow_exception(current);
    } catch (const Error& error) {
      status = static_cast<int>(error.code());
      message = error.what();
      if (!error.hint().empty()) message += "\nhint: " + error.hint();
    } catch (const std::exception& error) {
      message = error.what();
    } catch (...) {
      message = "an exception of an unknown type";
    }
  }
  std::fprintf(stderr, "error: rank %d: %s\n", world_rank(), message.c_str());
  end_all_ranks(status);
}

}  // namespace

void abort_all_ranks(int status) {
  int started = 0;
  int finished = 0;
  MPI_Initialized(&started);
  MPI_Finalized(&finished);
  if (started != 0 && finished == 0) end_all_ranks(status);
  end_process_within(kSecondsToEnd, status);
  std::fflush(nullptr);
  std::_Exit(status);
}

ParallelRuntime::ParallelRuntime(int* argc, char*** argv) : started_(started_by_launcher(process_environment)) {
  if (!started_) return;
  int provided = MPI_THREAD_SINGLE;
  mpi::check(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread", -1, 0);
  mpi::check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler", -1, 0);
  if (provided < MPI_THREAD_FUNNELED) {
    throw Error(ExitCode::communication, "this MPI does not support threads (MPI_THREAD_FUNNELED)",
                "Use an Open MPI built with thread support, as Debian's is.");
  }
  std::set_terminate(end_all_ranks_on_terminate);
}

ParallelRuntime::~ParallelRuntime() {
  if (!started_) return;
  std::set_terminate(std::abort);
  const Activity activity("MPI_Finalize");
  MPI_Finalize();
}

std::unique_ptr<Communicator> ParallelRuntime::world() {
  return started_ ? make_mpi_world() : make_self_communicator();
}

int ParallelRuntime::rank() const {
  return started_ ? world_rank() : 0;
}

int ParallelRuntime::size() const {
  int size = 1;
  if (started_) MPI_Comm_size(MPI_COMM_WORLD, &size);
  return size;
}

bool ParallelRuntime::all_failed_together(double seconds) {
  if (!started_) return true;
  using Clock = std::chrono::steady_clock;
  MPI_Request request = MPI_REQUEST_NULL;
  if (MPI_Ibarrier(MPI_COMM_WORLD, &request) != MPI_SUCCESS) return false;
  const auto deadline =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  int done = 0;
  while (done == 0 && Clock::now() < deadline) {
    if (MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) return false;
  }
  return done != 0;
}

}  // namespace headroom
