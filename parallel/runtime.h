// Starting and ending the message-passing library, and what a user wants to know about the ranks at start-up.
#pragma once

#include <memory>
#include <string>

#include "parallel/communicator.h"

namespace headroom {

// Ends every rank of a running MPI at once with this exit status, or this process where no MPI runs. Where that takes
// more than 10 s, this process ends all the same, with the same status, which a launcher takes as a reason to end the
// others. From any thread: for what watches over the others.
[[noreturn]] void abort_all_ranks(int status);

// Starts MPI for the lifetime of the object (RAII). When the process was not started by a launcher, MPI is left alone
// and the world is a group of one. Only the main thread talks to MPI (MPI_THREAD_FUNNELED). An exception that nobody
// catches is printed with the rank, and ends all ranks.
class ParallelRuntime {
 public:
  ParallelRuntime(int* argc, char*** argv);
  ~ParallelRuntime();
  ParallelRuntime(const ParallelRuntime&) = delete;
  ParallelRuntime& operator=(const ParallelRuntime&) = delete;

  // A communicator of all ranks; may be called more than once.
  std::unique_ptr<Communicator> world();

  int rank() const;
  int size() const;

  // For a rank that is about to leave with an error: whether all ranks leave within `seconds`. If so one message is
  // enough and everyone can end in order; if not, the others wait for this rank somewhere and must be ended (abort).
  bool all_failed_together(double seconds);

  // Ends every rank at once with this exit status; for failures that only one rank sees.
  [[noreturn]] void abort(int status) { abort_all_ranks(status); }

 private:
  bool started_;  // MPI
};

// A table of ranks: rank, data x tensor coordinates, host, pid, threads, cores bound to, and `gpu` if any rank has one;
// at rank 0 (others get an empty string). Collective.
std::string describe_ranks(Communicator& world, int tensor_size, int threads, const std::string& gpu = {});

// Seconds of one all-reduce of `bytes` of `device`, the median of several after a warm-up, and the bus bandwidth it
// means (2 (n-1)/n bytes / seconds). Collective; for a GPU, `group` must serve it.
struct AllReduceTiming {
  double seconds;
  double bytes_per_second;
};
AllReduceTiming time_all_reduce(Communicator& group, std::int64_t bytes, Device device = Device::cpu);

}  // namespace headroom
