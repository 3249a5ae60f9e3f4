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
  std::string comment;  // the submission's name (campaign/journal.h), unless the site writes its own there

  bool waits() const { return state == "PENDING" || state == "REQUEUED" || state == "REQUEUE_HOLD"; }
};

using Queue = std::vector<QueuedJob>;

// The job with this number; not where it is another submission's, of a cluster that began to count anew.
const QueuedJob* find_job(const Queue& queue, const std::string& id, const std::string& submission);

// "123" of "123_4".
std::string without_task(const std::string& job);

// What `squeue` printed for kQueueFormat.
Queue parse_queue(const std::string& text);

// Everything of a user's that waits or runs, whatever the caller's SQUEUE_ variables would leave out. Throws
// ExitCode::communication with squeue's own message where the scheduler does not answer.
Queue read_queue(unsigned user);

// What a partition takes, or of several the most of any. sbatch accepts jobs beyond it, which then wait for ever.
struct PartitionLimits {
  int nodes = 0;                        // 0: there is no such partition
  std::optional<std::int64_t> seconds;  // of a job; none: no limit
};
PartitionLimits limits_of(const std::string& partition);

// Hands a script to sbatch with these options; the job's number. Throws ExitCode::usage with sbatch's own message when
// it is refused, and ExitCode::communication when sbatch does not finish or does not reach the scheduler: then the
// script may or may not be in the queue.
std::string submit(const std::vector<std::string>& options, const std::string& script,
                   const std::vector<std::string>& arguments);

// Ends those of the jobs that still wait, or all of them. Those that are gone are passed over. Throws
// ExitCode::communication with scancel's message.
void cancel_waiting(const std::vector<std::string>& jobs);
void cancel(const std::vector<std::string>& jobs);

// Tells the scripts of running jobs to save and end (USR1). As above.
void signal_scripts(const std::vector<std::string>& jobs);

// Whether `srun --mpi=list` has pmix. Throws ExitCode::usage where there is no srun.
bool srun_has_pmix();

}  // namespace headroom::campaign
