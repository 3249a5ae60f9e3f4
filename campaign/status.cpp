#include "campaign/status.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <algorithm>

#include "base/descriptor.h"
#include "base/error.h"
#include "campaign/exit_words.h"

namespace headroom::campaign {
namespace {

// Starts since the run was last asked for, but the first.
int restarts_of(const std::vector<Attempt>& attempts) {
  int starts = 0;
  for (const Attempt& attempt : attempts) {
    if (attempt.event == AttemptEvent::retried) starts = 0;
    if (attempt.event == AttemptEvent::started) ++starts;
  }
  return std::max(0, starts - 1);
}

void judge_the_queued(const QueuedJob& job, RunState& state) {
  state.job = job.id;
  state.phase = job.waits() ? Phase::queued : Phase::running;
  state.detail = job.waits() ? job.reason : job.nodes;
  if (state.detail == "None") state.detail.clear();  // Slurm has not looked at it yet
  if (job.state == "COMPLETING") state.detail += " (ending)";
}

// The last word of the newest submission's jobs; nullptr if they have not said anything yet.
const Attempt* last_word(const Evidence& evidence) {
  if (evidence.attempts.empty()) return nullptr;
  const Attempt& last = evidence.attempts.back();
  return evidence.submission && last.submission != evidence.submission->name ? nullptr : &last;
}

// Without the scheduler it is known of a run only that it was never handed over, or that its job told its end.
bool needs_the_scheduler(const Evidence& evidence) {
  const Attempt* last = last_word(evidence);
  if (last == nullptr) return evidence.submission.has_value();
  return last->event == AttemptEvent::started || last->event == AttemptEvent::requeued ||
         last->event == AttemptEvent::retried;
}

std::string last_heard(const Evidence& evidence) {
  const Attempt* last = last_word(evidence);
  if (last == nullptr) return "submitted";
  return fmt::format("{} {}{}", name_of(last->event), last->time, last->nodes.empty() ? "" : " on " + last->nodes);
}

// By the last word of the run's jobs, which are all gone.
void judge_by_last_word(const Evidence& evidence, RunState& state) {
  const bool on_slurm = evidence.on_slurm();
  const Attempt* last = last_word(evidence);
  if (last == nullptr || last->event == AttemptEvent::retried) {
    if (on_slurm && last == nullptr && evidence.submission && evidence.submission->job) {
      state.phase = Phase::cancelled;
      state.detail = fmt::format("job {} left the queue before it began", *evidence.submission->job);
    }
    return;
  }
  switch (last->event) {
    case AttemptEvent::started:
      state.phase = Phase::lost;
      state.detail = fmt::format("on {}, without a word", last->nodes);
      break;
    case AttemptEvent::requeued:
      if (on_slurm) state.phase = Phase::lost;
      state.detail = on_slurm ? "requeued, and gone from the queue" : exit_words(last->status);
      break;
    case AttemptEvent::ended:
      state.phase = Phase::failed;
      state.detail = exit_words(last->status);
      state.status = last->status;
      break;
    case AttemptEvent::gave_up:
      state.phase = Phase::failed;
      state.detail = fmt::format("after {} restart{}: {}", state.restarts, state.restarts == 1 ? "" : "s",
                                 exit_words(last->status));
      state.status = last->status;
      break;
    case AttemptEvent::stopped:
      state.phase = Phase::stopped;
      break;
    case AttemptEvent::cancelled:
      state.phase = Phase::cancelled;
      state.detail = "by scancel or its time limit";
      break;
    case AttemptEvent::retried:
      break;
  }
}

// As starts_in_vain of the jobs' scripts counts (campaign/script.h).
int starts_in_vain_of(const std::vector<Attempt>& attempts) {
  int starts = 0;
  for (const Attempt& attempt : attempts) {
    if (attempt.event == AttemptEvent::started) ++starts;
    if (attempt.event == AttemptEvent::retried || attempt.progress) starts = 0;
  }
  return starts;
}

}  // namespace

const char* name_of(Phase phase) {
  switch (phase) {
    case Phase::waiting:
      return "waiting";
    case Phase::queued:
      return "queued";
    case Phase::running:
      return "running";
    case Phase::finished:
      return "finished";
    case Phase::stopped:
      return "stopped";
    case Phase::cancelled:
      return "cancelled";
    case Phase::failed:
      return "failed";
    case Phase::lost:
      return "lost";
    case Phase::unknown:
      return "unknown";
  }
  return "";
}

RunState judge(const RunEntry& run, const Evidence& evidence) {
  RunState state;
  state.restarts = restarts_of(evidence.attempts);
  state.starts_in_vain = starts_in_vain_of(evidence.attempts);
  if (evidence.submission) state.job = evidence.submission->job_of(run.name);
  if (evidence.queue != nullptr && state.job) {
    if (const QueuedJob* job = find_job(*evidence.queue, *state.job, evidence.submission->name)) {
      judge_the_queued(*job, state);
      return state;
    }
  }
  if (evidence.alive) {
    state.phase = Phase::running;
    if (!evidence.attempts.empty()) state.detail = evidence.attempts.back().nodes;
  } else if (evidence.finished) {
    state.phase = Phase::finished;
  } else if (evidence.scheduler_away && needs_the_scheduler(evidence)) {
    state.phase = Phase::unknown;
    state.detail = last_heard(evidence);
  } else {
    judge_by_last_word(evidence, state);
    if (evidence.stop_mark && state.phase != Phase::failed) state.phase = Phase::stopped;
  }
  return state;
}

std::optional<double> RunStatus::seconds_left() const {
  if (state.phase != Phase::running || !progress || !(progress->step_seconds > 0.0)) return {};
  return static_cast<double>(std::max<std::int64_t>(0, run->steps - progress->step)) * progress->step_seconds;
}

std::optional<std::string> find_submission(const Submission& submission, const std::vector<Attempt>& attempts,
                                           const Queue& queue) {
  for (const QueuedJob& job : queue) {
    if (job.comment == submission.name) return without_task(job.id);
  }
  for (const Attempt& attempt : attempts) {
    if (attempt.submission == submission.name && !attempt.job.empty()) return without_task(attempt.job);
  }
  return {};
}

bool script_is_alive(const Campaign& campaign, const std::string& run) {
  const std::filesystem::path file = campaign.journal() / (run + ".alive");
  const Descriptor lock(::open(file.c_str(), O_RDWR | O_CLOEXEC));
  return lock && ::flock(lock.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

namespace {

// `queue`: nullopt on this machine, or where the scheduler is away.
std::vector<RunStatus> gather(const Campaign& campaign, const std::optional<Queue>& queue) {
  const Journal journal(campaign);
  std::vector<RunStatus> all;
  for (const RunEntry& run : campaign.runs) {
    Evidence evidence;
    evidence.alive = !campaign.site && script_is_alive(campaign, run.name);
    evidence.finished = std::filesystem::exists(campaign.run_directory(run.name) / "finished");
    evidence.stop_mark = std::filesystem::exists(campaign.stop_mark(run.name));
    evidence.attempts = journal.attempts(run.name);
    if (campaign.site) {
      evidence.queue = queue ? &*queue : nullptr;
      evidence.scheduler_away = !queue;
      evidence.submission = journal.submission_of(run);
      if (evidence.submission && !evidence.submission->job) {
        evidence.submission->job = find_submission(*evidence.submission, evidence.attempts, queue ? *queue : Queue{});
      }
    }
    all.push_back({&run, judge(run, evidence), read_progress(campaign.run_directory(run.name) / "metrics.jsonl")});
  }
  return all;
}

}  // namespace

std::vector<RunStatus> read_status(const Campaign& campaign) {
  return gather(campaign, campaign.site ? std::optional(read_queue(campaign.owner())) : std::nullopt);
}

std::vector<RunStatus> read_status_even_if_away(const Campaign& campaign, std::string& away) {
  away.clear();
  std::optional<Queue> queue;
  try {
    if (campaign.site) queue = read_queue(campaign.owner());
  } catch (const Error& error) {
    away = error.what();
  }
  return gather(campaign, queue);
}

}  // namespace headroom::campaign
