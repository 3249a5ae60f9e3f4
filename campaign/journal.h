// What happened to a campaign's runs, in files that are only ever added to, a line an event, each with one writer at a
// time:
//   journal/GROUP.submissions.jsonl   what was handed to the scheduler; by who holds the campaign's lock
//   journal/RUN.attempts.jsonl        what became of a run's jobs; by the job's own script (campaign/job_script.h)
// A submission is written down before it is made, under a name that the job carries, so that one whose outcome a killed
// driver could not write down is found again in the queue or by its attempts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "campaign/directory.h"

namespace headroom::campaign {

// One submission of some runs of a group: one job, or an array of which each task is a run.
struct Submission {
  std::string name;                          // "tvr#2": what the job carries
  std::map<std::string, std::string> tasks;  // run -> the array's task; "" for a job of one run
  std::optional<std::string> job;            // as the scheduler numbers it; none: not known
  bool refused = false;

  // "123" or "123_0": as the queue lists the run.
  std::optional<std::string> job_of(const std::string& run) const;
};

enum class AttemptEvent : std::uint8_t {
  started,    // a job began
  requeued,   // it will begin again
  ended,      // status 0: done; else given up, with the run's exit code
  stopped,    // because somebody asked for it (headroom campaign stop)
  cancelled,  // because the scheduler ended the job (scancel)
  gave_up,    // requeued too often
  retried,    // somebody asked to begin again after one of the above
};

// The event's word in the journal.
const char* name_of(AttemptEvent event);

struct Attempt {
  AttemptEvent event{};
  int status = 0;          // exit code of what was run
  std::string time;        // UTC, ISO 8601
  std::string job;         // the scheduler's number; "" on this machine
  std::string submission;  // Submission::name; "local" on this machine
  std::string nodes;
  int process = 0;        // of the script
  int slot = 0;           // on this machine: which share of its cores
  bool progress = false;  // requeued: with a newer checkpoint than it began with
};

class Journal {
 public:
  explicit Journal(const Campaign& campaign) : campaign_(&campaign) {}

  std::vector<Submission> submissions(const std::string& group) const;
  // The newest submission that has the run; nullopt if it was never submitted.
  std::optional<Submission> submission_of(const RunEntry& run) const;

  // Written to disk before they return. With the campaign's lock only. Throw ExitCode::disk_full.
  void begin_submission(const std::string& group, const Submission& submission) const;
  void submitted(const std::string& group, const std::string& name, const std::string& job) const;
  void refused(const std::string& group, const std::string& name, const std::string& message) const;

  // A last line that is cut off (the writer was killed) is left out. Throws ExitCode::bad_data naming file and line
  // for any other line that is no event.
  std::vector<Attempt> attempts(const std::string& run) const;
  // For a run without a job: otherwise the job's script writes. What is submitted later is not meant by `retried`.
  void retried(const RunEntry& run) const;
  void gave_up(const std::string& run, int status) const;

  std::filesystem::path attempts_file(const std::string& run) const;

 private:
  std::filesystem::path submissions_file(const std::string& group) const;

  const Campaign* campaign_;
};

}  // namespace headroom::campaign
