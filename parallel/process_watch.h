// Watches over what this process's threads wait for (base/activity.h): other ranks, which may have died, hang or be
// frozen, and file systems, which may not answer. Past a limit it says on stderr what, since when and in which step,
// shows the stacks of all threads, and ends the job, so that a run that hangs does not hold its machines for days.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/activity.h"
#include "parallel/watchdog.h"

namespace headroom {

// This process in words: "rank 3 of 8 on n1 (pid 123)".
std::string describe_process(int rank, int size);

// What is wrong with what the threads are in. One that shows no sign of progress for more than the limit is trouble:
// ExitCode::disk_full for a file operation, ExitCode::communication for a collective. A collective is given a tenth of
// the limit more: where one rank hangs in a file and the others wait for it, the file is what a person should read of.
//
// Time in which nobody looked does not count, from a few seconds on: the process or the machine was suspended, and all
// others with it perhaps.
class ActivityWatch final : public Watched {
 public:
  explicit ActivityWatch(std::string who, std::function<std::vector<Occupation>()> occupations = headroom::occupations);

  std::optional<Trouble> trouble(double now, double limit) override;
  void abort() override {}

 private:
  std::optional<Trouble> judge(const Occupation& occupation, double now, double limit) const;

  std::string who_;
  std::function<std::vector<Occupation>()> occupations_;
  std::optional<double> last_look_;
  double counted_from_ = 0.0;
};

// The same for work that must be over within the limit altogether, however much it moves on. Always
// ExitCode::communication.
class DeadlineWatch final : public Watched {
 public:
  // `work` in words ("the preflight"); it began at `begin` of the watchdog's clock.
  DeadlineWatch(std::string who, std::string work, double begin,
                std::function<std::vector<Occupation>()> occupations = headroom::occupations);

  std::optional<Trouble> trouble(double now, double limit) override;
  void abort() override {}

 private:
  std::string who_;
  std::string work_;
  double begin_;
  std::function<std::vector<Occupation>()> occupations_;
};

// Alive while the process is to be watched; its thread ends with it. Throws ExitCode::internal when stacks cannot be
// prepared (base/stacks.h).
class ProcessWatch {
 public:
  struct Settings {
    // Longer than anything that one rank does while others wait for it: evaluation, snapshots, checkpoints. 0: nothing
    // is watched.
    double limit_seconds = 600.0;
    std::string who = {};  // as describe_process()
    // Empty: the limit is of each wait by itself. Else of this altogether ("the preflight").
    std::string whole = {};
    // Called in the watchdog's thread before it says anything, where it is this process that the others wait for.
    std::function<void()> hangs_here = {};
    // For tests; all are called in the watchdog's thread.
    std::function<double()> now = activity_seconds;
    std::function<void(const std::string&)> print = {};  // to stderr if empty
    std::function<void(ExitCode)> end_job = {};          // abort_all_ranks if empty
  };

  explicit ProcessWatch(Settings settings);

 private:
  std::shared_ptr<Watched> activities_;
  std::optional<Watchdog> watchdog_;
};

}  // namespace headroom
