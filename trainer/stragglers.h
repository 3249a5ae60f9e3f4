// Ranks that are slower than the others, which then wait for them in every step: a hot or throttled device, a host with
// a neighbour. Steps are equally long on all ranks, so a slow one shows in how much of them it does not wait.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace headroom {

struct Straggler {
  int rank = 0;
  std::string host;
  double ratio = 0.0;  // its busy time over the median's

  bool operator==(const Straggler&) const = default;
};

// "rank 5 on n2 is busy 1.8 times as long as the median rank".
std::string describe(const Straggler& straggler);

// The ranks that are busy more than `ratio` times as long as the median rank (the lower of two), in the order of ranks.
// `busy` is seconds, by rank. Nobody where the median is 0.
std::vector<Straggler> find_stragglers(std::span<const double> busy, std::span<const std::string> hosts, double ratio);

class Stragglers {
 public:
  struct Settings {
    double ratio = 0.0;        // a rank that is busier than the median by this is named; 0: nothing is done
    std::int64_t window = 50;  // steps added up before the ranks compare
  };

  // Collective, with the same settings on every rank; `world` must outlive the object. Throws ExitCode::internal for
  // settings that cannot be.
  Stragglers(Communicator& world, Settings settings);

  // A step of this rank: how long it took, and how much of that the rank waited for others (Communicator::
  // seconds_waiting of all groups). Collective in every window-th call: one all_reduce of a number a rank. Returns the
  // window's stragglers then, the same on every rank, and nothing in the calls between.
  std::vector<Straggler> note_step(double seconds, double waited);

 private:
  Communicator& world_;
  Settings settings_;
  std::vector<std::string> hosts_;  // by rank
  double busy_ = 0.0;               // seconds of the window so far
  std::int64_t steps_ = 0;          // in it
};

}  // namespace headroom
