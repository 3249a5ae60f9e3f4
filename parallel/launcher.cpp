#include "parallel/launcher.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <mpi.h>

#include <cstdlib>
#include <filesystem>

#include "base/system.h"

namespace headroom {
namespace {

struct Launcher {
  const char* size;  // the variable that tells how many processes it started
  const char* rank;  // and the one that tells which of them this is
  const char* name;
  const char* reason;
  const char* cure;
};

constexpr const char* kSrunCure =
    "Start with `srun --mpi=pmix` where `srun --mpi=list` has it, otherwise with the mpirun of the same MPI inside the "
    "job (sbatch or salloc).";

// In the order to ask: Open MPI's mpirun starts its daemons by srun, so inside a Slurm job the processes of mpirun also
// carry the variables of that job step, which count daemons.
constexpr Launcher kLaunchers[] = {
    {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "Open MPI's mpirun",
     "this program is linked to another MPI than that mpirun's",
     "Start with the mpirun of the MPI that this program was built with (`ldd` on the program shows which)."},
    {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "srun", "srun offers no PMIx to this program's MPI", kSrunCure},
    {"PMI_SIZE", "PMI_RANK", "a PMI launcher (the mpirun of MPICH or Intel MPI)",
     "it offers no PMIx to this program's MPI",
     "Start with the mpirun of the same MPI that this program was built with, or with `srun --mpi=pmix`."},
};
// Slurms that do not say SLURM_STEP_NUM_TASKS.
constexpr Launcher kOldSrun = {"SLURM_NTASKS", "SLURM_PROCID", "srun", "srun offers no PMIx to this program's MPI",
                               kSrunCure};

// What tells of a launcher, where it is set; of PMIx also where it is not.
constexpr const char* kTelling[] = {"OMPI_COMM_WORLD_SIZE", "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS",
                                    "SLURM_MPI_TYPE",       "PMI_RANK",     "PMI_SIZE"};

std::optional<long> number(const char* text) {
  if (text == nullptr || *text == '\0') return std::nullopt;
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  if (*end != '\0') return std::nullopt;
  return value;
}

// Whether this is a process that srun started, and not the shell of a batch script, which carries the job's variables:
// Slurm numbers what is no step of the user's (batch, extern, interactive) from 0xfffffff0 on.
bool in_a_step(const EnvironmentLookup& lookup) {
  const auto step = number(lookup("SLURM_STEP_ID"));
  return step && *step >= 0 && *step < 0xfffffff0L;
}

std::string found_in(const EnvironmentLookup& lookup) {
  std::string text;
  for (const char* variable : kTelling) {
    if (const char* const value = lookup(variable)) text += fmt::format("{}={}, ", variable, value);
  }
  const char* const pmix = lookup("PMIX_RANK");
  return text + (pmix == nullptr ? "no PMIX_RANK" : fmt::format("PMIX_RANK={}", pmix));
}

std::optional<LonelyRank> lonely(const Launcher& launcher, long processes, const EnvironmentLookup& lookup) {
  if (processes <= 1) return std::nullopt;
  const auto rank = number(lookup(launcher.rank));
  return LonelyRank{
      .message = fmt::format(
          "{} started {} processes, but each sees only itself and would do the whole work alone: {}.\n"
          "The environment of process {}: {}",
          launcher.name, processes, launcher.reason, rank ? fmt::format("{}", *rank) : "?", found_in(lookup)),
      .hint = launcher.cure,
      .speaks = !rank || *rank == 0};
}

// By the first launcher that says how many processes it started.
std::optional<LonelyRank> diagnosed(const EnvironmentLookup& lookup) {
  for (const Launcher& launcher : kLaunchers) {
    if (const auto processes = number(lookup(launcher.size))) return lonely(launcher, *processes, lookup);
  }
  const auto processes = number(lookup(kOldSrun.size));
  if (processes && in_a_step(lookup)) return lonely(kOldSrun, *processes, lookup);
  return std::nullopt;
}

}  // namespace

const char* process_environment(const char* variable) {
  return std::getenv(variable);
}

bool started_by_launcher(const EnvironmentLookup& lookup) {
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_FD"}) {
    if (lookup(variable) != nullptr) return true;
  }
  return false;
}

std::string node_name(const EnvironmentLookup& lookup) {
  const char* const name = lookup("SLURMD_NODENAME");
  return name != nullptr && *name != '\0' ? name : host_name();
}

RankFinding rank_finding() {
#ifdef OPEN_MPI
  Dl_info library{};
  const bool located = ::dladdr(reinterpret_cast<const void*>(&MPI_Init), &library) != 0;
  const std::filesystem::path folder = std::filesystem::path(located ? library.dli_fname : "").parent_path();
  // A component is a symbol of Open MPI's libraries, or a file beside them.
  for (const std::string component : {"mca_pmix_s1", "mca_pmix_s2", "mca_pmix_cray"}) {
    if (::dlsym(RTLD_DEFAULT, (component + "_component").c_str()) != nullptr) return RankFinding::pmix_and_pmi;
    for (const char* place : {"openmpi", "openmpi/lib/openmpi3"}) {
      std::error_code error;
      if (std::filesystem::exists(folder / place / (component + ".so"), error)) return RankFinding::pmix_and_pmi;
    }
  }
  return RankFinding::pmix;
#else
  return RankFinding::unknown;
#endif
}

std::optional<LonelyRank> lonely_before_start(const EnvironmentLookup& lookup, RankFinding finding) {
  if (finding == RankFinding::unknown) return std::nullopt;
  for (const char* offered : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMIX_NAMESPACE", "FLUX_JOB_ID"}) {
    if (lookup(offered) != nullptr) return std::nullopt;
  }
  const bool pmi = lookup("PMI_RANK") != nullptr || lookup("PMI_FD") != nullptr;
  if (pmi && finding == RankFinding::pmix_and_pmi) return std::nullopt;
  return diagnosed(lookup);
}

std::optional<LonelyRank> lonely_after_start(int world_size, const EnvironmentLookup& lookup) {
  return world_size == 1 ? diagnosed(lookup) : std::nullopt;
}

}  // namespace headroom
