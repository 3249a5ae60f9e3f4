#include "campaign/local_executor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <iterator>
#include <optional>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "base/system.h"
#include "campaign/job_script.h"

namespace headroom::campaign {
namespace {

namespace fs = std::filesystem;

fs::path script_file(const Campaign& campaign, const std::string& run) {
  return campaign.jobs() / (run + ".sh");
}

// Only one driver at a time starts runs. Dies with its process.
class DriverLock {
 public:
  explicit DriverLock(const Campaign& campaign) {
    const fs::path file = campaign.directory / "driver";
    lock_ = Descriptor(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (!lock_) throw_write_error(file, "open", errno);
    if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
      throw Error(ExitCode::busy,
                  fmt::format("{} is being run by another process: {}", campaign.directory.string(), read_file(file)),
                  "`headroom campaign status` shows how far it is, `headroom campaign stop` ends it.");
    }
    const std::string who = fmt::format("process {} on {} since {}", ::getpid(), host_name(), local_time());
    if (::ftruncate(lock_.get(), 0) != 0 || write_all(lock_.get(), who) != 0) throw_write_error(file, "write", errno);
  }

 private:
  Descriptor lock_;
};

// SIGINT and SIGTERM as something to wait for, as long as the object lives.
class StopSignals {
 public:
  StopSignals() {
    ::sigemptyset(&signals_);
    ::sigaddset(&signals_, SIGINT);
    ::sigaddset(&signals_, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &signals_, &before_);
    descriptor_ = Descriptor(::signalfd(-1, &signals_, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  ~StopSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  int descriptor() const { return descriptor_.get(); }
  // Whether one has come since the last call.
  bool take() {
    signalfd_siginfo signal{};
    return ::read(descriptor_.get(), &signal, sizeof signal) == sizeof signal;
  }

 private:
  sigset_t signals_{};
  sigset_t before_{};
  Descriptor descriptor_;
};

// Readable when the process has ended; none where there is no such process. (glibc 2.36 cannot be asked from C++.)
Descriptor watch_process(int process) {
  return Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, process, 0)));
}

// Whether the process is a run's script, and not another one that was given its number since.
bool is_script(int process, const fs::path& script) {
  std::ifstream file(fmt::format("/proc/{}/cmdline", process), std::ios::binary);
  const std::string command{std::istreambuf_iterator<char>(file), {}};
  return command.find(script.string()) != std::string::npos;
}

// What the living script of a run said when it started; nullptr where it has not said it yet, or its last word already.
const Attempt* last_start(const std::vector<Attempt>& attempts) {
  const auto last = std::find_if(attempts.rbegin(), attempts.rend(),
                                 [](const Attempt& attempt) { return attempt.event != AttemptEvent::retried; });
  return last == attempts.rend() || last->event != AttemptEvent::started ? nullptr : &*last;
}

class Driver {
 public:
  Driver(const Campaign& campaign, const std::function<void(const std::vector<RunStatus>&)>& show)
      : campaign_(campaign),
        journal_(campaign),
        show_(show),
        lock_(campaign),
        slots_(slots_of(campaign.resources, usable_cores())) {}

  bool train() {
    for (;;) {
      const std::vector<RunStatus> runs = look();
      adopt(runs);
      if (!stopping_) start_what_waits(runs);
      const bool others = std::any_of(runs.begin(), runs.end(), [&](const RunStatus& status) {
        return status.state.phase == Phase::running && !known(status.run->name);  // and will be adopted
      });
      if (jobs_.empty() && !others) return stopping_;
      wait();
    }
  }

 private:
  struct Job {
    std::string run;
    pid_t process;
    Descriptor ended;  // readable when the script has ended; none of a script that is gone while its ranks live
    std::size_t slot;
    bool own;                   // started by this driver
    std::size_t events_before;  // attempts' lines when it was started
  };

  std::vector<RunStatus> look() {
    std::vector<RunStatus> runs = read_status(campaign_);
    for (RunStatus& status : runs) {
      if (status.state.phase != Phase::waiting && status.state.phase != Phase::lost) continue;
      if (status.state.restarts < campaign_.budget.restarts || journal_.attempts(status.run->name).empty()) continue;
      const Attempt last = journal_.attempts(status.run->name).back();
      if (last.event == AttemptEvent::retried) continue;
      journal_.gave_up(status.run->name, last.status);
      status.state.phase = Phase::failed;
    }
    show_(runs);
    return runs;
  }

  bool known(const std::string& run) const {
    return std::any_of(jobs_.begin(), jobs_.end(), [&](const Job& job) { return job.run == run; });
  }

  // Scripts of an earlier driver.
  void adopt(const std::vector<RunStatus>& runs) {
    for (const RunStatus& status : runs) {
      const std::string& run = status.run->name;
      if (status.state.phase != Phase::running || known(run)) continue;
      const std::vector<Attempt> attempts = journal_.attempts(run);
      const Attempt* start = last_start(attempts);
      if (start == nullptr) continue;
      Descriptor ended = watch_process(start->process);
      if (!is_script(start->process, script_file(campaign_, run))) ended = Descriptor();
      jobs_.push_back({run, start->process, std::move(ended), static_cast<std::size_t>(start->slot), false, 0});
      if (stopping_) ask_to_stop(jobs_.back());
    }
  }

  std::optional<std::size_t> free_slot() const {
    for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
      if (std::none_of(jobs_.begin(), jobs_.end(), [&](const Job& job) { return job.slot == slot; })) return slot;
    }
    return {};
  }

  void start_what_waits(const std::vector<RunStatus>& runs) {
    for (const RunStatus& status : runs) {
      const Phase phase = status.state.phase;
      if (phase != Phase::waiting && phase != Phase::lost) continue;
      const std::optional<std::size_t> slot = free_slot();
      if (!slot) return;
      start(status.run->name, *slot);
    }
  }

  void start(const std::string& run, std::size_t slot) {
    const std::size_t events = journal_.attempts(run).size();
    const pid_t process =
        start_detached({"bash", script_file(campaign_, run).string(), std::to_string(slot), slots_[slot].core_list()},
                       {}, campaign_.log(run));
    Descriptor ended = watch_process(process);
    HEADROOM_CHECK(ended, "no descriptor of process {}", process);
    jobs_.push_back({run, process, std::move(ended), slot, true, events});
  }

  // Until a script ends or a signal comes, or for a second, after which people want to see how far it is.
  void wait() {
    std::vector<pollfd> watched = {{signals_.descriptor(), POLLIN, 0}};
    for (const Job& job : jobs_) watched.push_back({job.ended.get(), POLLIN, 0});
    constexpr int kSecond = 1000;
    ::poll(watched.data(), watched.size(), kSecond);
    if (signals_.take()) stop();
    std::size_t index = 1;
    std::erase_if(jobs_, [&](const Job& job) {
      const bool ended = watched[index++].revents != 0;
      const bool over = job.ended ? ended : !script_is_alive(campaign_, job.run);
      if (over) finish(job);
      return over;
    });
  }

  void finish(const Job& job) const {
    if (job.own) ::waitpid(job.process, nullptr, 0);
    const bool silent = job.own && journal_.attempts(job.run).size() == job.events_before;
    if (silent && !stopping_ && !script_is_alive(campaign_, job.run)) {
      throw Error(ExitCode::internal, fmt::format("{} ended before it began", script_file(campaign_, job.run).string()),
                  fmt::format("Its last words are in {}.", campaign_.log(job.run).string()));
    }
  }

  void stop() {
    stopping_ = true;
    for (const Job& job : jobs_) ask_to_stop(job);
  }

  static void ask_to_stop(const Job& job) {
    if (job.ended) ::kill(job.process, SIGUSR1);
  }

  const Campaign& campaign_;
  Journal journal_;
  const std::function<void(const std::vector<RunStatus>&)>& show_;
  DriverLock lock_;
  StopSignals signals_;
  std::vector<Slot> slots_;
  std::vector<Job> jobs_;
  bool stopping_ = false;
};

}  // namespace

std::string Slot::core_list() const {
  return fmt::format("{}", fmt::join(cores, ","));
}

std::vector<Slot> slots_of(const Resources& resources, const std::vector<int>& cores) {
  const int wanted = resources.ranks() * std::max(1, resources.threads);
  const int room = std::max(1, static_cast<int>(cores.size()) / wanted);
  const int count = resources.at_once > 0 ? resources.at_once : room;
  std::vector<Slot> slots(static_cast<std::size_t>(count));
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    // With more slots than cores, cores are shared.
    const std::size_t begin = slot * cores.size() / slots.size();
    const std::size_t end = std::max(begin + 1, (slot + 1) * cores.size() / slots.size());
    slots[slot].cores.assign(cores.begin() + static_cast<std::ptrdiff_t>(begin),
                             cores.begin() + static_cast<std::ptrdiff_t>(end));
  }
  return slots;
}

std::vector<fs::path> write_local_scripts(const Campaign& campaign, const fs::path& program) {
  std::vector<fs::path> written;
  for (const RunEntry& run : campaign.runs) {
    written.push_back(script_file(campaign, run.name));
    write_file_atomically(written.back(), local_script(campaign, run, program));
  }
  return written;
}

bool train_here(const Campaign& campaign, const fs::path& program,
                const std::function<void(const std::vector<RunStatus>&)>& show) {
  Driver driver(campaign, show);
  {
    const CampaignLock lock(campaign);
    for (const RunEntry& run : campaign.runs) {
      if (!fs::exists(campaign.stop_mark(run.name))) continue;
      Journal(campaign).retried(run);
      fs::remove(campaign.stop_mark(run.name));
    }
    write_local_scripts(campaign, program);
  }
  return driver.train();
}

void stop_here(const Campaign& campaign, const std::vector<RunStatus>& runs) {
  const CampaignLock lock(campaign);
  const Journal journal(campaign);
  for (const RunStatus& status : runs) {
    const Phase phase = status.state.phase;
    if (phase == Phase::finished || phase == Phase::failed || phase == Phase::cancelled) continue;
    // A script first says that it has started, and then looks for the mark: it sees one or the other.
    write_file_atomically(campaign.stop_mark(status.run->name), "");
    const std::vector<Attempt> attempts = journal.attempts(status.run->name);
    const Attempt* start = last_start(attempts);
    if (start == nullptr || !script_is_alive(campaign, status.run->name)) continue;
    if (start->nodes != host_name()) {
      throw Error(ExitCode::usage, fmt::format("run {} runs on {}, not here", status.run->name, start->nodes),
                  "Call this on that host.");
    }
    if (is_script(start->process, script_file(campaign, status.run->name))) ::kill(start->process, SIGUSR1);
  }
}

}  // namespace headroom::campaign
