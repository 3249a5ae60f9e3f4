// How far the ranks' clocks are apart: what file times and logs of several hosts are worth beside each other.
#pragma once

#include <functional>
#include <vector>

#include "parallel/communicator.h"

namespace headroom {

struct ClockOffset {
  double seconds = 0.0;      // a rank's clock less rank 0's
  double uncertainty = 0.0;  // the true offset is within this of it: half of the round trip
};

// The wall clock, seconds since 1970.
double wall_seconds();

// Every rank's offset, by rank, on every rank. Rank 0 asks, each rank reads its clock when the question arrives, and
// rank 0 takes the middle between asking and having heard from all; the shortest of several round trips counts.
// Collective.
std::vector<ClockOffset> clock_offsets(Communicator& group, const std::function<double()>& clock = wall_seconds);

}  // namespace headroom
