// What started this process, told by the environment: whether MPI finds its other ranks that way, which node it is on,
// and whether it is one of several that would each believe themselves alone.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace headroom {

// Looks up an environment variable: its value or null.
using EnvironmentLookup = std::function<const char*(const char*)>;

// The process's own environment.
const char* process_environment(const char* variable);

// Whether this process was started by something that MPI can find its other ranks through.
bool started_by_launcher(const EnvironmentLookup& lookup);

// The node's name as the scheduler has it, for its --exclude: SLURMD_NODENAME, else the host's name.
std::string node_name(const EnvironmentLookup& lookup);

// The silent failure of N processes that each see a world of one: each would train the whole model by itself, into the
// same run directory.
struct LonelyRank {
  std::string message;  // how many processes what started, why they are alone, and the variables that say so
  std::string hint;     // the cure
  bool speaks = true;   // whether this process is to say it; one of them is enough
};

// How this program's MPI finds the other ranks.
enum class RankFinding : std::uint8_t {
  pmix,          // by PMIx alone: Open MPI 5, and 4 as most distributions build it
  pmix_and_pmi,  // Open MPI 4 built with Slurm's PMI libraries
  unknown,       // another MPI
};
RankFinding rank_finding();

// Before MPI is started, which may end the process with words of its own: whether a launcher started several processes
// and offers nothing that this MPI could find the others through (srun --mpi=none or --mpi=pmi2, another MPI's mpirun).
// Not for processes on their own: the shell of a batch script carries SLURM_NTASKS but is no step of the job.
std::optional<LonelyRank> lonely_before_start(const EnvironmentLookup& lookup, RankFinding finding);

// The same once MPI has found `world_size` ranks, whatever the reason.
std::optional<LonelyRank> lonely_after_start(int world_size, const EnvironmentLookup& lookup);

}  // namespace headroom
