#include "parallel/clock_offsets.h"

#include <chrono>
#include <cstring>

namespace headroom {
namespace {

constexpr int kRoundTrips = 10;

std::vector<double> gathered(Communicator& group, double reading) {
  const auto bytes = std::as_bytes(std::span<const double>(&reading, 1));
  std::vector<double> readings;
  for (const auto& message : group.gather_bytes(bytes, 0)) {
    std::memcpy(&readings.emplace_back(), message.data(), sizeof(double));
  }
  return readings;
}

}  // namespace

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::vector<ClockOffset> clock_offsets(Communicator& group, const std::function<double()>& clock) {
  const auto ranks = static_cast<std::size_t>(group.size());
  std::vector<double> offsets(ranks, 0.0);
  double shortest = 0.0;
  group.barrier();
  for (int trip = 0; trip < kRoundTrips; ++trip) {
    const double asked = clock();
    group.broadcast_bytes({}, 0);
    const std::vector<double> readings = gathered(group, clock());
    const double heard = clock();
    if (group.rank() != 0 || (trip > 0 && heard - asked >= shortest)) continue;
    shortest = heard - asked;
    for (std::size_t rank = 1; rank < ranks; ++rank) offsets[rank] = readings[rank] - (asked + heard) / 2;
  }
  offsets.push_back(shortest / 2);
  group.all_reduce(std::span<double>(offsets), Reduction::sum);  // only rank 0 has numbers other than 0
  std::vector<ClockOffset> all(ranks);
  for (std::size_t rank = 1; rank < ranks; ++rank) all[rank] = {offsets[rank], offsets[ranks]};
  return all;
}

}  // namespace headroom
