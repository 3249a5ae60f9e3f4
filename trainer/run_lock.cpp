#include "trainer/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "base/system.h"

namespace headroom {
namespace {

constexpr const char* kUnsharedLocks = "its file system does not share locks between hosts, but the lock is kept alive";

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The scheduler's job that this process belongs to, "" if none.
std::string scheduler_job() {
  struct Scheduler {
    const char* name;
    const char* variable;
  };
  for (const Scheduler& one :
       {Scheduler{"slurm", "SLURM_JOB_ID"}, Scheduler{"pbs", "PBS_JOBID"}, Scheduler{"lsf", "LSB_JOBID"}}) {
    if (const std::string id = variable(one.variable); !id.empty()) return fmt::format("{} {}", one.name, id);
  }
  return "";
}

// process 4711 on host node7, started 2026-01-02 03:04:05, job slurm 1234, restart 1
std::string own_name() {
  std::string name = fmt::format("process {} on host {}, started {}", ::getpid(), host_name(), local_time());
  if (const std::string job = scheduler_job(); !job.empty()) name += ", job " + job;
  if (const std::string restart = variable("SLURM_RESTART_COUNT"); !restart.empty()) name += ", restart " + restart;
  return name;
}

// The part of a name between a word and the next comma; "" if it has none.
std::string part_of(std::string_view name, std::string_view word) {
  const std::size_t at = name.find(word);
  if (at == std::string_view::npos) return "";
  const std::string_view rest = name.substr(at + word.size());
  return std::string(rest.substr(0, rest.find(',')));
}

bool on_one_host(std::string_view one, std::string_view other) {
  const std::string host = part_of(one, " on host ");
  return !host.empty() && host == part_of(other, " on host ");
}

// Two runs in one allocation are of the same job as well, and may both live: only a counted restart tells.
bool restarted_since(std::string_view before, std::string_view now) {
  const std::string job = part_of(before, ", job ");
  return !job.empty() && job == part_of(now, ", job ") && part_of(before, ", restart ") != part_of(now, ", restart ");
}

// What can be seen of a holder; any change is a sign of life.
struct Sign {
  std::string name;  // empty: nobody holds the lock
  std::int64_t changed_seconds = 0;
  std::int64_t changed_nanoseconds = 0;
  bool operator==(const Sign&) const = default;
};

// Opening the file makes a network file system ask its server instead of its memory.
Sign look_at(const std::filesystem::path& file) {
  const Descriptor opened(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  std::array<char, 1024> text{};
  const ssize_t bytes = opened ? ::pread(opened.get(), text.data(), text.size(), 0) : -1;
  if (bytes < 0 || ::fstat(opened.get(), &status) != 0) throw_write_error(file, "look at", errno);
  std::string_view name(text.data(), static_cast<std::size_t>(bytes));
  name = name.substr(0, name.find('\n'));
  return {std::string(name), status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

// A thread that no signal is delivered to: they are the main thread's.
template <class Work>
std::jthread quiet_thread(Work work) {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::jthread thread(std::move(work));
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace

RunLock::RunLock(const std::filesystem::path& directory, const LockTiming& timing)
    : file_(directory / "lock"),
      timing_(timing),
      lock_(::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)),
      name_(own_name()) {
  if (!lock_) throw_write_error(file_, "open", errno);
  const bool locked = ::flock(lock_.get(), LOCK_EX | LOCK_NB) == 0;
  const bool without_locks = !locked && (errno == ENOSYS || errno == EOPNOTSUPP || errno == ENOLCK);
  if (!locked && !without_locks) {
    if (errno != EWOULDBLOCK) throw_write_error(file_, "lock", errno);
    // The holder may be writing its name just now.
    const std::string holder = look_at(file_).name;
    refuse(holder.empty() ? "another process" : holder);
  }
  const std::string holder = look_at(file_).name;
  const bool surely_dead = (locked && on_one_host(holder, name_)) || restarted_since(holder, name_);
  const bool doubtful = !holder.empty() && !surely_dead;
  if (!holder.empty() && (surely_dead || died(holder))) took_over_ = holder;
  write_name();
  if (doubtful) {
    // Somebody else may have watched as long and written as well: the later one has it.
    std::this_thread::sleep_for(timing_.heartbeat);
    if (const std::string now = look_at(file_).name; now != name_) refuse(now, kUnsharedLocks);
  }
  heart_ = quiet_thread([this](const std::stop_token& stop) { give_signs_of_life(stop); });
}

RunLock::~RunLock() {
  heart_.request_stop();
  if (heart_.joinable()) heart_.join();
  try {
    // A name that cannot be emptied is taken over like that of a run that died; another holder's is not ours to empty.
    [[maybe_unused]] const bool emptied = look_at(file_).name == name_ && ::ftruncate(lock_.get(), 0) == 0;
  } catch (const Error&) {
    // The file is gone, and the lock with it.
  }
}

void RunLock::refuse(const std::string& holder, const std::string& because) const {
  throw Error(ExitCode::busy,
              fmt::format("run directory '{}' is in use by {}{}", file_.parent_path().string(), holder,
                          because.empty() ? "" : fmt::format(" ({})", because)),
              "Wait for that run to end or stop it, or give this one another name (--set name=...).");
}

// Watches a holder elsewhere. Throws ExitCode::busy at its first sign of life; false if it let go in order meanwhile.
bool RunLock::died(const std::string& holder) const {
  constexpr int kLooksPerHeartbeat = 5;
  const Sign first = look_at(file_);
  for (int i = 0; i < timing_.patience * kLooksPerHeartbeat; ++i) {
    std::this_thread::sleep_for(timing_.heartbeat / kLooksPerHeartbeat);
    const Sign now = look_at(file_);
    if (now.name.empty()) return false;
    if (now != first || now.name != holder) refuse(now.name, kUnsharedLocks);
  }
  return true;
}

void RunLock::write_name() const {
  const std::string line = name_ + "\n";
  if (::ftruncate(lock_.get(), 0) != 0) throw_write_error(file_, "empty", errno);
  const ssize_t written = ::pwrite(lock_.get(), line.data(), line.size(), 0);
  if (written != static_cast<ssize_t>(line.size())) throw_write_error(file_, "write", written < 0 ? errno : ENOSPC);
  if (::fsync(lock_.get()) != 0) throw_write_error(file_, "synchronise", errno);  // other hosts are to see it
}

void RunLock::give_signs_of_life(const std::stop_token& stop) const {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  while (!wake.wait_for(lock, stop, timing_.heartbeat, [&stop] { return stop.stop_requested(); })) {
    // The time is the server's. By name where the descriptor outlived its disk, which may be back under the same name.
    // A disk that takes neither is tried again a heartbeat later: whether training goes on is not this thread's to say.
    if (::futimens(lock_.get(), nullptr) != 0) ::utimensat(AT_FDCWD, file_.c_str(), nullptr, 0);
  }
}

}  // namespace headroom
