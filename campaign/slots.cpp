#include "campaign/slots.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "base/error.h"
#include "base/system.h"
#include "tensor/backend.h"

namespace headroom::campaign {
namespace {

template <class T>
std::string list(const std::vector<T>& items) {
  return fmt::format("{}", fmt::join(items, ","));
}

// How many runs' GPUs the machine has.
int gpu_room(const Resources& resources, const Machine& machine) {
  const auto gpus = static_cast<int>(machine.gpus.size());
  const int room = gpus / resources.gpus_per_node;
  if (room == 0) {
    throw Error(ExitCode::bad_config,
                fmt::format("runs want {} GPUs, this machine has {}", resources.gpus_per_node, gpus),
                "Lower resources.gpus_per_node and resources.ranks_per_node, or submit to a cluster with --site.");
  }
  if (resources.at_once > room) {
    throw Error(ExitCode::bad_config,
                fmt::format("resources.at_once = {}, but this machine's {} GPUs are enough for {}", resources.at_once,
                            gpus, room),
                "Lower resources.at_once, or leave it out.");
  }
  return room;
}

}  // namespace

Machine this_machine(bool with_gpus) {
  Machine machine{usable_cores(), {}};
  if (!with_gpus) return machine;
  if (const auto reason = why_no_gpu()) {
    throw Error(ExitCode::usage, "runs want GPUs: " + *reason,
                "`headroom doctor` says what was found. Submit to a cluster with --site, or take "
                "resources.gpus_per_node out.");
  }
  const std::size_t count = backend(Device::cuda).devices().size();
  const char* const visible = std::getenv("CUDA_VISIBLE_DEVICES");  // NOLINT(concurrency-mt-unsafe): nobody sets it
  if (visible != nullptr && *visible != '\0') {
    std::istringstream names(visible);
    for (std::string name; std::getline(names, name, ',');) machine.gpus.push_back(name);
    machine.gpus.resize(std::min(machine.gpus.size(), count));  // what follows an unknown one is not seen
  } else {
    for (std::size_t gpu = 0; gpu < count; ++gpu) machine.gpus.push_back(std::to_string(gpu));
  }
  return machine;
}

std::string Slot::core_list() const {
  return list(cores);
}

std::string Slot::gpu_list() const {
  return list(gpus);
}

std::vector<Slot> slots_of(const Resources& resources, const Machine& machine, std::size_t runs) {
  const std::vector<int>& cores = machine.cores;
  const int wanted = resources.ranks() * std::max(1, resources.threads);
  int room = std::max(1, static_cast<int>(cores.size()) / wanted);
  if (resources.gpus_per_node > 0) room = std::min(room, gpu_room(resources, machine));
  const int count = resources.at_once > 0 ? resources.at_once : room;
  std::vector<Slot> slots(std::clamp<std::size_t>(static_cast<std::size_t>(count), 1, std::max<std::size_t>(runs, 1)));
  const auto gpus = static_cast<std::size_t>(resources.gpus_per_node);
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    // With more slots than cores, cores are shared.
    const std::size_t begin = slot * cores.size() / slots.size();
    const std::size_t end = std::max(begin + 1, (slot + 1) * cores.size() / slots.size());
    const auto core = cores.begin();
    slots[slot].cores.assign(core + static_cast<std::ptrdiff_t>(begin), core + static_cast<std::ptrdiff_t>(end));
    const auto gpu = machine.gpus.begin() + static_cast<std::ptrdiff_t>(slot * gpus);
    if (gpus > 0) slots[slot].gpus.assign(gpu, gpu + static_cast<std::ptrdiff_t>(gpus));
  }
  return slots;
}

}  // namespace headroom::campaign
