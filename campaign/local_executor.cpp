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
#include <set>

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

// Whether a process' command line has these words, separated by zeros.
bool was_started_with(int process, const std::string& words) {
  std::ifstream file(fmt::format("/proc/{}/cmdline", process), std::ios::binary);
  const std::string command{std::istreambuf_iterator<char>(file), {}};
  return command.find(words) != std::string::npos;
}

// Whether the process is a run's script, and not another one that was given its number since.
bool is_script(int process, const fs::path& script) {
  return was_started_with(process, script.string());
}

// The ranks of a run whose script is gone, and their launcher.
void signal_ranks(const Campaign& campaign, const std::string& run) {
  const std::string words = std::string("train") + '\0' + campaign.config(run).string();
  for (const fs::directory_entry& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const int process = std::stoi(name);
    if (was_started_with(process, words)) ::kill(process, SIGUSR1);
  }
}

// What the living script of a run said when it started; nullptr where it has not said it yet, or its last word already.
const Attempt* last_start(const std::vector<Attempt>& attempts) {
  const auto last = std::find_if(attempts.rbegin(), attempts.rend(),
                                 [](const Attempt& attempt) { return attempt.event != AttemptEvent::retried; });
  return last == attempts.rend() || last->event != AttemptEvent::started ? nullptr : &*last;
}

class Driver {
 public:
  Driver(const Campaign& campaign, std::vector<Slot> slots,
         const std::function<void(const std::vector<RunStatus>&)>& show)
      : campaign_(campaign), journal_(campaign), show_(show), lock_(campaign), slots_(std::move(slots)) {}

  bool train() {
    for (;;) {
      const std::vector<RunStatus> runs = look();
      adopt(runs);
      if (!stopping_) start_what_waits(runs);
      const bool others = std::any_of(runs.begin(), runs.end(), [&](const RunStatus& status) {
        return status.state.phase == Phase::running && !known(status.run->name);  // and will be adopted
      });
      if (leaving_ || (jobs_.empty() && !others)) return stopping_;
      wait();
    }
  }

 private:
  struct Job {
    std::string run;
    pid_t process;
    Descriptor ended;  // readable when the script has ended; none of a script that is gone while its ranks live, or
                       // of a kernel before 5.3
    std::size_t slot;
    bool own;                   // started by this driver
    std::size_t events_before;  // attempts' lines when it was started
  };

  std::vector<RunStatus> look() {
    std::vector<RunStatus> runs = read_status(campaign_);
    for (RunStatus& status : runs) {
      RunState& state = status.state;
      if (state.phase != Phase::waiting && state.phase != Phase::lost) continue;
      if (state.starts_in_vain <= campaign_.budget.restarts) continue;
      // Whose last word is that it began was ended from outside, with no status.
      const int last = journal_.attempts(status.run->name).back().status;
      state.status = last != 0 ? last : static_cast<int>(ExitCode::communication);
      state.phase = Phase::failed;
      journal_.gave_up(status.run->name, state.status);
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
    const pid_t process = start_detached({"bash", script_file(campaign_, run).string(), std::to_string(slot),
                                          slots_[slot].core_list(), slots_[slot].gpu_list()},
                                         {}, campaign_.log(run));
    jobs_.push_back({run, process, watch_process(process), slot, true, events});
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
      const bool ended = is_over(job, watched[index++].revents != 0);
      if (ended) finish(job);
      return ended;
    });
  }

  bool is_over(const Job& job, bool told) const {
    if (job.ended) return told;
    siginfo_t what{};
    if (job.own) {
      return ::waitid(P_PID, static_cast<id_t>(job.process), &what, WEXITED | WNOHANG | WNOWAIT) == 0 &&
             what.si_pid != 0;
    }
    return !script_is_alive(campaign_, job.run);
  }

  // A script that left without a word found its run held by another; a second time it is broken.
  void finish(const Job& job) {
    if (job.own) ::waitpid(job.process, nullptr, 0);
    const bool silent = job.own && journal_.attempts(job.run).size() == job.events_before;
    if (!silent || stopping_ || script_is_alive(campaign_, job.run)) return;
    if (silent_.insert(job.run).second) return;
    throw Error(ExitCode::internal, fmt::format("{} ended before it began", script_file(campaign_, job.run).string()),
                fmt::format("Its last words are in {}.", campaign_.log(job.run).string()));
  }

  void stop() {
    leaving_ = stopping_;
    if (leaving_) return;
    stopping_ = true;
    for (const Job& job : jobs_) ask_to_stop(job);
    fmt::print(stderr, "{} running save themselves and end; once more leaves them to it\n", jobs_.size());
  }

  void ask_to_stop(const Job& job) const {
    if (job.own || is_script(job.process, script_file(campaign_, job.run))) {
      ::kill(job.process, SIGUSR1);
    } else {
      signal_ranks(campaign_, job.run);
    }
  }

  const Campaign& campaign_;
  Journal journal_;
  const std::function<void(const std::vector<RunStatus>&)>& show_;
  DriverLock lock_;
  StopSignals signals_;
  std::vector<Slot> slots_;
  std::vector<Job> jobs_;
  std::set<std::string> silent_;  // runs whose script left without a word
  bool stopping_ = false;
  bool leaving_ = false;  // without waiting
};

}  // namespace

std::vector<fs::path> write_local_scripts(const Campaign& campaign, const fs::path& program) {
  std::vector<fs::path> written;
  for (const RunEntry& run : campaign.runs) {
    written.push_back(script_file(campaign, run.name));
    write_file_atomically(written.back(), local_script(campaign, run, program));
  }
  return written;
}

bool train_here(const Campaign& campaign, const fs::path& program, std::vector<Slot> slots,
                const std::function<void(const std::vector<RunStatus>&)>& show) {
  Driver driver(campaign, std::move(slots), show);
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
  const Journal journal(campaign);
  std::vector<std::string> elsewhere;
  for (const RunStatus& status : runs) {
    const Phase phase = status.state.phase;
    if (phase == Phase::finished || phase == Phase::failed || phase == Phase::cancelled) continue;
    // A script first says that it has started, and then looks for the mark: it sees one or the other.
    write_file_atomically(campaign.stop_mark(status.run->name), "");
    const std::vector<Attempt> attempts = journal.attempts(status.run->name);
    const Attempt* start = last_start(attempts);
    if (start == nullptr || !script_is_alive(campaign, status.run->name)) continue;
    if (start->nodes != host_name()) {
      elsewhere.push_back(fmt::format("{} runs on {}", status.run->name, start->nodes));
    } else if (is_script(start->process, script_file(campaign, status.run->name))) {
      ::kill(start->process, SIGUSR1);
    } else {
      signal_ranks(campaign, status.run->name);
    }
  }
  if (!elsewhere.empty()) {
    throw Error(ExitCode::usage, fmt::format("not on this host: {}", fmt::join(elsewhere, ", ")),
                "Call this there; what runs here was asked.");
  }
}

}  // namespace headroom::campaign
