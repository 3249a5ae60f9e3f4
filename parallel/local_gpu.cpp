#include "parallel/local_gpu.h"

#include <algorithm>
#include <cstdlib>

#include "base/system.h"
#include "parallel/device_communicator.h"
#include "parallel/rank_words.h"
#include "tensor/backend.h"

namespace headroom {
namespace {

// The ranks' hosts, if each has a GPU.
std::vector<std::string> hosts_with_gpus(Communicator& world) {
  const auto told = gather_words(world, {host_name(), why_no_gpu().value_or("")});
  std::vector<std::string> hosts;
  for (std::size_t rank = 0; rank < told.size(); ++rank) {
    const std::string& host = told[rank].at(0);
    const std::string& failure = told[rank].at(1);
    if (!failure.empty()) {
      throw Error(ExitCode::usage, fmt::format("no GPU to run on for rank {} on {}: {}", rank, host, failure),
                  "`headroom doctor` says what was found. Set device = \"cpu\" to run without a GPU.");
    }
    hosts.push_back(host);
  }
  return hosts;
}

}  // namespace

int local_rank(const EnvironmentLookup& lookup, const std::vector<std::string>& hosts, int rank) {
  // mpirun's before Slurm's: inside a Slurm job its processes also carry the variables of the step that started them.
  for (const char* variable : {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"}) {
    const char* const text = lookup(variable);
    if (text == nullptr || *text == '\0') continue;
    char* end = nullptr;
    const long value = std::strtol(text, &end, 10);
    if (*end == '\0' && value >= 0) return static_cast<int>(value);
  }
  const auto own = hosts.begin() + rank;
  return static_cast<int>(std::count(hosts.begin(), own, *own));
}

LocalGpu select_local_gpu(Communicator& world) {
  const std::vector<std::string> hosts = hosts_with_gpus(world);
  const int number = local_rank(process_environment, hosts, world.rank());
  const Backend& gpus = backend(Device::cuda);
  const std::vector<std::string> visible = gpus.devices();
  LocalGpu chosen;
  chosen.index = number % static_cast<int>(visible.size());
  chosen.name = visible[static_cast<std::size_t>(chosen.index)];
  gpus.select_device(chosen.index);
  chosen.note = shared_gpus(gather_gpus(world));
  return chosen;
}

}  // namespace headroom
