// The silent failure of N processes that each believe they are alone: started by a launcher whose process manager this
// MPI does not speak, each would train the whole model by itself.
#include <cstdlib>
#include <optional>

#include "parallel/runtime.h"

namespace headroom {
namespace {

struct Launcher {
  const char* size;  // the variable that tells how many processes it started
  const char* name;
  const char* reason;
  const char* cure;
};

// In the order to ask: Open MPI's mpirun starts its daemons by srun, so inside a Slurm job the processes of mpirun also
// carry the variables of that job step, which count daemons.
constexpr Launcher kLaunchers[] = {
    {"OMPI_COMM_WORLD_SIZE", "Open MPI's mpirun", "this program is linked to another MPI than that mpirun's",
     "Start with the mpirun of the MPI that this program was built with (`ldd` on the program shows which)."},
    {"PMI_SIZE", "a PMI launcher (the mpirun of MPICH or Intel MPI, or srun --mpi=pmi2)",
     "this program's Open MPI is not reached that way",
     "Start with the mpirun of the same Open MPI that this program was built with, or with `srun --mpi=pmix`."},
    {"SLURM_STEP_NUM_TASKS", "srun", "srun was not told to connect them",
     "Start with `srun --mpi=pmix` (`srun --mpi=list` shows what this site has), or with the mpirun of the same MPI "
     "inside the job."},
};

std::optional<int> number(const char* text) {
  if (text == nullptr || *text == '\0') return std::nullopt;
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  if (*end != '\0') return std::nullopt;
  return static_cast<int>(value);
}

}  // namespace

bool started_by_launcher(const EnvironmentLookup& lookup) {
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_FD"}) {
    if (lookup(variable) != nullptr) return true;
  }
  return false;
}

std::string lonely_ranks_diagnosis(int world_size, const EnvironmentLookup& lookup) {
  if (world_size != 1) return {};
  for (const Launcher& launcher : kLaunchers) {
    const auto started = number(lookup(launcher.size));
    if (!started) continue;
    if (*started == 1) return {};
    return fmt::format(
        "{} started {} processes ({}={}), but each sees only itself and would train the whole model alone: {}. {}",
        launcher.name, *started, launcher.size, *started, launcher.reason, launcher.cure);
  }
  return {};
}

std::string lonely_ranks_diagnosis(int world_size) {
  return lonely_ranks_diagnosis(world_size, [](const char* variable) { return std::getenv(variable); });
}

}  // namespace headroom
