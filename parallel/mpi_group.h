// What the collectives of one MPI communicator share: the handle, tags, scratch memory and accounts.
#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/mpi_handles.h"
#include "parallel/scratch_pool.h"

namespace headroom {

class Exchange;

class MpiGroup {
 public:
  // The exchanges under way in this process, over all its groups, so that waiting for one moves the others along.
  using Underway = std::vector<Exchange*>;

  // Groups split from one another share `underway`.
  MpiGroup(mpi::Comm comm, std::shared_ptr<Underway> underway);

  MPI_Comm comm() const { return comm_.get(); }
  int rank() const { return rank_; }
  int size() const { return size_; }
  // The rank in MPI_COMM_WORLD that a rank of this group is: what a person finds in the logs.
  int world_rank(int rank) const { return world_ranks_[static_cast<std::size_t>(rank)]; }
  const std::shared_ptr<Underway>& underway() const { return underway_; }
  ScratchPool& scratch() { return scratch_; }

  // Throws ExitCode::communication naming `call` (what for included), rank and size if `code` is an error.
  void check(int code, std::string_view call) const { mpi::check(code, call, rank_, size_); }

  // The tag of the next exchange. Ranks make the same calls in the same order, so they agree on it, and several
  // exchanges in flight never mix.
  int next_tag();

  // Keeps memory alive that a given-up exchange may still write to.
  void keep(std::shared_ptr<void> memory) { kept_.push_back(std::move(memory)); }

  Traffic traffic;
  double seconds_waiting = 0.0;

 private:
  mpi::Comm comm_;
  int rank_ = 0;
  int size_ = 1;
  std::vector<int> world_ranks_;
  int tag_ = 0;
  int last_tag_ = 0;
  std::shared_ptr<Underway> underway_;
  ScratchPool scratch_;
  std::vector<std::shared_ptr<void>> kept_;  // after scratch_, to which the kept objects return their memory
};

// Adds the time it lives to the group's waiting time.
class WaitingClock {
 public:
  explicit WaitingClock(MpiGroup& group) : group_(group), start_(std::chrono::steady_clock::now()) {}
  ~WaitingClock() {
    group_.seconds_waiting += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  WaitingClock(const WaitingClock&) = delete;
  WaitingClock& operator=(const WaitingClock&) = delete;

 private:
  MpiGroup& group_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace headroom
