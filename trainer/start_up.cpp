#include "trainer/start_up.h"

#include <omp.h>

#include <algorithm>
#include <cstring>

#include "base/system.h"
#include "parallel/local_gpu.h"
#include "tensor/backend.h"

namespace headroom {
namespace {

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

int set_threads(int wanted, Communicator& world) {
  const int ranks = ranks_on_this_host(world);
  const int threads = wanted > 0 ? wanted : std::max(1, static_cast<int>(usable_cores().size()) / ranks);
  omp_set_num_threads(threads);
  return threads;
}

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

Device device_for(const RunConfig& config) {
  Device device = Device::cpu;
  if (config.device == "cuda" || (config.device == "auto" && config.train.dtype != DType::f64 && gpu_by_default())) {
    backend(Device::cuda);  // throws what was seen
    device = Device::cuda;
  }
  const DType dtype = config.train.dtype;
  if (device == Device::cpu && (dtype == DType::bf16 || config.optim.moments == MomentFormat::bf16)) {
    const std::optional<std::string> reason = why_no_gpu();
    const std::string why = config.device == "auto" && reason ? " (no GPU: " + *reason + ")" : "";
    throw Error(ExitCode::bad_config,
                fmt::format("{} needs a GPU, and this run computes on the CPU{}",
                            dtype == DType::bf16 ? "train.dtype = \"bf16\"" : "optim.moments = \"bf16\"", why),
                "Set train.dtype = \"f32\" and optim.moments = \"wide\", or run where there is a GPU.");
  }
  if (device == Device::cuda && dtype == DType::f64) {
    throw Error(ExitCode::bad_config, "train.dtype = \"f64\" is computed on the CPU only",
                "Set device = \"cpu\", or train.dtype = \"f32\" or \"bf16\".");
  }
  return device;
}

StartedRanks start_ranks(const RunConfig& config, ParallelRuntime& runtime) {
  const Device device = device_for(config);
  auto world = runtime.world();
  auto watch = std::make_unique<ProcessWatch>(ProcessWatch::Settings{
      .limit_seconds = config.faults.timeout, .who = describe_process(world->rank(), world->size())});
  const Layout layout = layout_for(config, world->size());
  std::vector<std::string> notes;
  std::int64_t on_gpus = device == Device::cuda ? 1 : 0;
  world->all_reduce(std::span<std::int64_t>(&on_gpus, 1), Reduction::sum);
  if (on_gpus != 0 && on_gpus != world->size()) {
    throw Error(ExitCode::usage,
                fmt::format("{} of {} ranks found a GPU, the others would compute on the CPU", on_gpus, world->size()),
                "Set device = \"cpu\", or device = \"cuda\" to learn what is missing where, or leave out the hosts "
                "without a GPU.");
  }
  if (device == Device::cuda) {
    const LocalGpu gpu = select_local_gpu(*world);
    notes.push_back(fmt::format("GPU {}: {}", gpu.index, gpu.name));
    if (!gpu.note.empty()) notes.push_back(gpu.note);
  }
  Mesh mesh(std::move(world), layout, device, config.parallel.transport);
  if (device == Device::cuda && !mesh.transport().empty()) notes.push_back("tensors go by " + mesh.transport());
  const int threads = set_threads(config.parallel.threads, mesh.world());
  return {device, std::move(watch), std::move(mesh), threads, std::move(notes)};
}

}  // namespace headroom
