// The silent failure of N processes that each believe they are alone: started by a launcher whose process manager this
// MPI does not speak, each would train the whole model by itself.
#include <cstdlib>
#include <optional>

#include "parallel/runtime.h"

namespace headroom {
namespace {

struct Launcher {
  const char* variable;  // how many processes it started
  const char* name;
  const char* cure;
};

constexpr Launcher kLaunchers[] = {
    {"OMPI_COMM_WORLD_SIZE", "Open MPI's mpirun", "Use the mpirun of the Open MPI that Headroom was built with."},
    {"PMI_SIZE", "a PMI launcher (MPICH, Intel MPI or srun --mpi=pmi2)",
     "Use the mpirun of the Open MPI that Headroom was built with, or `srun --mpi=pmix`."},
    {"SLURM_STEP_NUM_TASKS", "srun", "Start with `srun --mpi=pmix` (`srun --mpi=list` shows what the site has), or with mpirun."},
};

std::optional<int> number(const char* text) {
  if (text == nullptr || *text == '\0') return std::nullopt;
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  if (*end != '\0') return std::nullopt;
  return static_cast<int>(value);
}

}  // namespace

std::string lonely_ranks_diagnosis(int world_size, const EnvironmentLookup& lookup) {
  if (world_size != 1) return {};
  for (const Launcher& launcher : kLaunchers) {
    const auto started = number(lookup(launcher.variable));
    if (started && *started > 1) {
      return fmt::format(
          "{} started {} processes ({}={}), but this one sees a world of 1: each would train alone. {}", launcher.name,
          *started, launcher.variable, *started, launcher.cure);
    }
  }
  return {};
}

std::string lonely_ranks_diagnosis(int world_size) {
  return lonely_ranks_diagnosis(world_size, [](const char* variable) { return std::getenv(variable); });
}

}  // namespace headroom
