// What state every run of a campaign is in: judged from its journal, its run directory and the queue, never kept
// anywhere, so that it cannot be wrong for longer than what it is made of.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "campaign/directory.h"
#include "campaign/journal.h"
#include "campaign/queue.h"
#include "campaign/run_progress.h"

namespace headroom::campaign {

enum class Phase : std::uint8_t {
  waiting,    // not handed over yet, or to be started again on this machine
  queued,     // with the scheduler
  running,    //
  finished,   //
  stopped,    // asked to; goes on with `run`
  cancelled,  // by the scheduler's own commands; goes on with `retry`
  failed,     // given up; goes on with `retry`
  lost,       // its job is gone and wrote no end; `run` begins it again
  unknown,    // only the scheduler could tell, and it does not answer
};

const char* name_of(Phase phase);

// What one run's state is judged from.
struct Evidence {
  bool finished = false;   // the run directory says so
  bool stop_mark = false;  // somebody asked it to stop
  bool alive = false;      // on this machine: its script lives
  std::vector<Attempt> attempts;
  std::optional<Submission> submission;
  const Queue* queue = nullptr;  // none on this machine, or where the scheduler does not answer
  bool scheduler_away = false;

  bool on_slurm() const { return queue != nullptr || scheduler_away; }
};

struct RunState {
  Phase phase = Phase::waiting;
  std::string detail;              // why, or where: "Resources", "n[1-2]", "exit code 6 (diverged)"
  std::optional<std::string> job;  // in the scheduler's numbering
  int restarts = 0;                // since the run was last asked for
  int starts_in_vain = 0;          // since it was, or made a checkpoint
  int status = 0;                  // exit code of a run that failed
};

RunState judge(const RunEntry& run, const Evidence& evidence);

struct RunStatus {
  const RunEntry* run;
  RunState state;
  std::optional<RunProgress> progress;

  // Seconds until the run would be done at its pace; nullopt where that is unknown or it does not run.
  std::optional<double> seconds_left() const;
};

// The job of a submission whose number was not written down: from the queue, or by what the job itself told. The
// array's number for an array.
std::optional<std::string> find_submission(const Submission& submission, const std::vector<Attempt>& attempts,
                                           const Queue& queue);

// Gathers everything. The queue is asked once. Throws as read_queue and Journal do.
std::vector<RunStatus> read_status(const Campaign& campaign);

// For the eye only: where the scheduler does not answer, what the files say, and why in `away`.
std::vector<RunStatus> read_status_even_if_away(const Campaign& campaign, std::string& away);

// Whether the run's script lives on this machine.
bool script_is_alive(const Campaign& campaign, const std::string& run);

}  // namespace headroom::campaign
