#include "parallel/runtime.h"

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <vector>

#include "parallel/mpi_communicator.h"
#include "parallel/mpi_handles.h"
#include "tensor/memory.h"

namespace headroom {

ParallelRuntime::ParallelRuntime(int* argc, char*** argv) {
  int provided = MPI_THREAD_SINGLE;
  mpi::check(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread", -1);
  if (provided < MPI_THREAD_FUNNELED) {
    throw Error(ExitCode::communication, "this MPI does not support threads (MPI_THREAD_FUNNELED)",
                "Use an Open MPI built with thread support, as Debian's is.");
  }
}

ParallelRuntime::~ParallelRuntime() { MPI_Finalize(); }

std::unique_ptr<Communicator> ParallelRuntime::world() { return make_mpi_world(); }

bool ParallelRuntime::all_failed_together(double seconds) {
  using Clock = std::chrono::steady_clock;
  MPI_Request request = MPI_REQUEST_NULL;
  if (MPI_Ibarrier(MPI_COMM_WORLD, &request) != MPI_SUCCESS) return false;
  const auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  int done = 0;
  while (done == 0 && Clock::now() < deadline) MPI_Test(&request, &done, MPI_STATUS_IGNORE);
  return done != 0;
}

int ParallelRuntime::rank() const {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

int ParallelRuntime::size() const {
  int size = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  return size;
}

void ParallelRuntime::abort(int status) {
  MPI_Abort(MPI_COMM_WORLD, status);
  std::abort();
}

AllReduceTiming time_all_reduce(Communicator& world, std::int64_t bytes) {
  using Clock = std::chrono::steady_clock;
  constexpr std::size_t kRepeats = 5;
  const Buffer memory(static_cast<std::size_t>(bytes), Device::cpu, "the start-up's all-reduce");
  const Tensor tensor = memory.tensor({bytes / static_cast<std::int64_t>(sizeof(float))}, DType::f32);
  world.all_reduce(tensor, Reduction::sum);  // connections and scratch memory are made in the first
  std::vector<double> seconds;
  for (std::size_t repeat = 0; repeat < kRepeats; ++repeat) {
    world.barrier();
    const auto begin = Clock::now();
    world.all_reduce(tensor, Reduction::sum);
    seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  world.all_reduce(std::span<double>(seconds), Reduction::max);
  std::nth_element(seconds.begin(), seconds.begin() + kRepeats / 2, seconds.end());
  const double median = seconds[kRepeats / 2];
  const double moved = 2.0 * (world.size() - 1) / world.size() * static_cast<double>(bytes);
  return {median, median > 0.0 ? moved / median : 0.0};
}

}  // namespace headroom
