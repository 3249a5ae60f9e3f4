// The scheduler as a campaign sees it: what waits and runs in the queue. Nothing here needs accounting (sacct).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace headroom::campaign {

struct QueuedJob {
  std::string id;       // "123", or "123_0" for a task of an array
  std::string state;    // PENDING, RUNNING, COMPLETING, ...
  std::string reason;   // why it waits: Resources, Priority, Dependency, BeginTime
  std::string nodes;    // where it runs
  std::string comment;  // the submission's name (campaign/journal.h)

  bool waits() const { return state == "PENDING" || state == "REQUEUED" || state == "REQUEUE_HOLD"; }
};

using Queue = std::vector<QueuedJob>;

const QueuedJob* find_job(const Queue& queue, const std::string& id);

// "123" of "123_4".
std::string without_task(const std::string& job);

// What `squeue` printed for kQueueFormat.
Queue parse_queue(const std::string& text);

// Everything of the caller's that waits or runs. Throws ExitCode::communication with squeue's own message where the
// scheduler does not answer.
Queue read_queue();

// What a partition takes. sbatch accepts jobs beyond it, which then wait for ever.
struct PartitionLimits {
  int nodes = 0;                        // 0: there is no such partition
  std::optional<std::int64_t> seconds;  // of a job; none: no limit
};
PartitionLimits limits_of(const std::string& partition);

// Hands a script to sbatch with these options; the job's number. Throws ExitCode::usage with sbatch's own message when
// it is refused, and ExitCode::communication when sbatch does not finish: then the script may or may not be in the
// queue.
std::string submit(const std::vector<std::string>& options, const std::string& script,
                   const std::vector<std::string>& arguments);

// Ends jobs. Throws ExitCode::communication with scancel's message.
void cancel(const std::vector<std::string>& jobs);

// Tells the scripts of running jobs to save and end (USR1).
void signal_scripts(const std::vector<std::string>& jobs);

// Whether `srun --mpi=list` has pmix. Throws ExitCode::usage where there is no srun.
bool srun_has_pmix();

}  // namespace headroom::campaign
