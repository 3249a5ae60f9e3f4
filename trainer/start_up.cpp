#include "trainer/start_up.h"

#include <omp.h>
#include <sched.h>

#include <algorithm>
#include <cstring>

#include "base/system.h"

namespace headroom {
namespace {

// Cores that this process may run on.
int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : omp_get_num_procs();
}

int ranks_on_this_host(Communicator& world) {
  const std::string host = host_name();
  const auto bytes = std::as_bytes(std::span<const char>(host.data(), host.size()));
  const auto hosts = world.gather_bytes(bytes, 0);
  std::vector<std::int64_t> counts(static_cast<std::size_t>(world.size()), 0);
  for (std::size_t rank = 0; rank < hosts.size(); ++rank) {
    counts[rank] = std::count(hosts.begin(), hosts.end(), hosts[rank]);
  }
  world.all_reduce(std::span<std::int64_t>(counts), Reduction::max);
  return static_cast<int>(counts[static_cast<std::size_t>(world.rank())]);
}

}  // namespace

Layout layout_for(const RunConfig& config, int ranks) {
  const int tensor = std::max(1, config.parallel.tensor);
  const int data = config.parallel.data > 0 ? config.parallel.data : std::max(1, ranks / tensor);
  const Layout layout{data, tensor};
  if (layout.ranks() != ranks) {
    throw Error(ExitCode::bad_config,
                fmt::format("the layout needs {} ranks (parallel.data = {} x parallel.tensor = {}), but {} started",
                            layout.ranks(), layout.data, layout.tensor, ranks),
                fmt::format("Start {} ranks (mpirun -n {} ...), or set parallel.data = 0 and a parallel.tensor that "
                            "divides {}.",
                            layout.ranks(), layout.ranks(), ranks));
  }
  return layout;
}

int set_threads(const RunConfig& config, Communicator& world) {
  const int ranks = ranks_on_this_host(world);
  const int threads = config.parallel.threads > 0 ? config.parallel.threads : std::max(1, usable_cores() / ranks);
  omp_set_num_threads(threads);
  return threads;
}

void check_device(const RunConfig& config) {
  if (config.device == "auto" || config.device == "cpu") return;
  throw Error(ExitCode::usage, fmt::format("device = \"{}\" is not in this build, which has: cpu", config.device),
              "Set device = \"cpu\" or \"auto\".");
}

void refuse_lonely_ranks(const Communicator& world) {
  const std::string diagnosis = lonely_ranks_diagnosis(world.size());
  if (!diagnosis.empty()) throw Error(ExitCode::communication, diagnosis);
}

}  // namespace headroom
