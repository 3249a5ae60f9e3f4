// Who may take a lock over and who must wait: on one host, between hosts, after a requeue, and when several try at
// once.
#include "trainer/run_lock.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/system.h"
#include "tests/base/write_failure.h"
#include "tests/scratch.h"

namespace {

// What the file system does with locks: share them as within one host, keep them to each host, or have none.
enum class Locks { shared, unshared, none };
Locks locks = Locks::shared;

}  // namespace

// In place of the C library's, in this program: how network file systems behave.
extern "C" int flock(int descriptor, int operation) noexcept {
  if (locks == Locks::unshared) return 0;
  if (locks == Locks::none) {
    errno = ENOSYS;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_flock, descriptor, operation));
}

namespace headroom {
namespace {

using namespace std::chrono_literals;
using test::content_of;
using test::Scratch;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Optional;

constexpr LockTiming kQuick{20ms, 3};
constexpr LockTiming kForever{24h, 3};  // who watches or waits with this does not come back
constexpr const char* kElsewhere = "process 12 on host elsewhere, started 2026-01-02 03:04:05";

// An environment variable for as long as the object lives.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
  ~Variable() { ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

class RunLocks : public ::testing::Test {
 protected:
  RunLocks() {
    for (const char* name : {"SLURM_JOB_ID", "SLURM_RESTART_COUNT", "PBS_JOBID", "LSB_JOBID"}) ::unsetenv(name);
  }
  ~RunLocks() override { locks = Locks::shared; }

  const std::filesystem::path& directory() const { return scratch_.path(); }
  std::string text() const { return content_of(scratch_ / "lock"); }
  void held_by(const std::string& holder) const { scratch_.file("lock", holder + "\n"); }

  std::int64_t changed() const {
    struct stat status {};
    EXPECT_EQ(::stat((scratch_ / "lock").c_str(), &status), 0);
    return status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec;
  }

  // What is said when the lock is refused.
  std::string refusal(const LockTiming& timing) const {
    try {
      const RunLock lock(directory(), timing);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::busy);
      EXPECT_THAT(error.hint(), HasSubstr("--set name="));
      return error.what();
    }
    ADD_FAILURE() << "the lock was given twice";
    return "";
  }

  const Scratch scratch_;
};

// Does something again and again, as a holder on another host would.
class Meanwhile {
 public:
  explicit Meanwhile(std::function<void()> what)
      : thread_([what = std::move(what)](const std::stop_token& stop) {
          for (; !stop.stop_requested(); std::this_thread::sleep_for(5ms)) what();
        }) {}

 private:
  std::jthread thread_;
};

TEST_F(RunLocks, NameTheirHolderAndAreEmptiedInTheEnd) {
  const std::string start = fmt::format("process {} on host {}, started ....-..-.. ..:..:..", ::getpid(), host_name());
  {
    const RunLock lock(directory());
    EXPECT_THAT(text(), MatchesRegex(start + "\n"));
    EXPECT_EQ(lock.took_over(), std::nullopt);
  }
  EXPECT_EQ(text(), "");
  const Variable job("SLURM_JOB_ID", "1234");
  {
    const RunLock lock(directory());
    EXPECT_THAT(text(), MatchesRegex(start + ", job slurm 1234\n"));
  }
  const Variable restart("SLURM_RESTART_COUNT", "2");
  const RunLock lock(directory());
  EXPECT_THAT(text(), MatchesRegex(start + ", job slurm 1234, restart 2\n"));
}

TEST_F(RunLocks, GiveSignsOfLifeAndStopAtOnce) {
  {
    const RunLock lock(directory(), kQuick);
    for (int beat = 0; beat < 3; ++beat) {
      const std::int64_t before = changed();
      for (int wait = 0; wait < 5000 && changed() == before; ++wait) std::this_thread::sleep_for(1ms);
      EXPECT_NE(changed(), before);
    }
  }
  const RunLock lock(directory(), kForever);  // the test ends all the same
}

TEST_F(RunLocks, AreTakenOverAtOnceFromAProcessThatDiedOnThisHost) {
  const std::string dead = fmt::format("process 12 on host {}, started 2026-01-02 03:04:05", host_name());
  held_by(dead);
  const RunLock lock(directory(), kForever);
  EXPECT_EQ(lock.took_over(), dead);
  EXPECT_THAT(text(), HasSubstr(fmt::format("process {} ", ::getpid())));
}

TEST_F(RunLocks, AreTakenOverAtOnceByARequeuedJob) {
  held_by(std::string(kElsewhere) + ", job slurm 1234");
  const Variable job("SLURM_JOB_ID", "1234");
  const Variable restart("SLURM_RESTART_COUNT", "1");
  const RunLock lock(directory(), kForever);
  EXPECT_THAT(lock.took_over(), Optional(HasSubstr("host elsewhere")));
}

TEST_F(RunLocks, OfAHostThatGivesNoSignAreTakenOver) {
  held_by(kElsewhere);
  const RunLock lock(directory(), kQuick);
  EXPECT_EQ(lock.took_over(), kElsewhere);
  EXPECT_THAT(text(), HasSubstr(host_name()));
}

TEST_F(RunLocks, OfAHostThatLivesAreRefused) {
  held_by(kElsewhere);
  const Meanwhile alive([&] { ::utimensat(AT_FDCWD, (scratch_ / "lock").c_str(), nullptr, 0); });
  EXPECT_THAT(refusal({200ms, 3}), AllOf(HasSubstr("'" + directory().string() + "' is in use by " + kElsewhere),
                                         HasSubstr("does not share locks between hosts")));
  EXPECT_EQ(text(), std::string(kElsewhere) + "\n");
}

// Two runs in one allocation: the job alone says nothing.
TEST_F(RunLocks, OfTheSameJobAreRefusedWhileTheyLive) {
  const std::string holder = std::string(kElsewhere) + ", job slurm 1234, restart 1";
  held_by(holder);
  const Variable job("SLURM_JOB_ID", "1234");
  const Variable restart("SLURM_RESTART_COUNT", "1");
  const Meanwhile alive([&] { ::utimensat(AT_FDCWD, (scratch_ / "lock").c_str(), nullptr, 0); });
  EXPECT_THAT(refusal({200ms, 3}), HasSubstr(holder));
}

TEST_F(RunLocks, ThatAreLetGoWhileWatchedAreNobodys) {
  held_by(kElsewhere);
  std::optional<RunLock> lock;
  std::jthread watcher([&] { lock.emplace(directory(), LockTiming{1s, 600}); });
  std::this_thread::sleep_for(100ms);  // whether the watcher has looked by then or not: the outcome is the same
  std::filesystem::resize_file(scratch_ / "lock", 0);
  watcher.join();
  ASSERT_TRUE(lock);
  EXPECT_EQ(lock->took_over(), std::nullopt);
}

TEST_F(RunLocks, HoldByTheirSignsOfLifeWhereThereAreNoLocks) {
  locks = Locks::none;
  {
    const RunLock lock(directory(), kQuick);
    EXPECT_THAT(refusal({200ms, 3}), HasSubstr(fmt::format("process {} on host {}", ::getpid(), host_name())));
  }
  const RunLock lock(directory(), kForever);
  EXPECT_EQ(lock.took_over(), std::nullopt);
}

TEST_F(RunLocks, SomethingInTheWayIsAnError) {
  std::filesystem::create_directory(scratch_ / "lock");
  EXPECT_THAT(test::failure([&] { const RunLock lock(directory()); }), HasSubstr("Is a directory"));
  EXPECT_THAT(test::failure([&] { const RunLock lock(scratch_ / "gone"); }), HasSubstr("No such file"));
}

// Processes that reach for the lock at the same moment; those that get it keep it until the object ends.
class Race {
 public:
  Race(int processes, const std::filesystem::path& directory, const LockTiming& timing) {
    int start[2];
    int results[2];
    EXPECT_EQ(::pipe(start), 0);
    EXPECT_EQ(::pipe(results), 0);
    for (int i = 0; i < processes; ++i) {
      children_.push_back(::fork());
      if (children_.back() == 0) run(start, results[1], directory, timing);
    }
    ::close(start[0]);
    ::close(start[1]);  // all children read its end
    for (int i = 0; i < processes; ++i) {
      char result = 0;
      EXPECT_EQ(::read(results[0], &result, 1), 1);
      results_ += result;
    }
    ::close(results[0]);
    ::close(results[1]);
  }
  ~Race() {
    for (const pid_t child : children_) {
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
    }
  }
  Race(const Race&) = delete;
  Race& operator=(const Race&) = delete;

  // 'w' for each process that won, 'b' for each that found the directory busy, 'e' for another error.
  auto count(char result) const { return std::count(results_.begin(), results_.end(), result); }
  const std::string& results() const { return results_; }

 private:
  [[noreturn]] static void run(const int (&start)[2], int results, const std::filesystem::path& directory,
                               const LockTiming& timing) {
    ::close(start[1]);
    char byte = 0;
    char result = ::read(start[0], &byte, 1) == 0 ? 'w' : 'e';
    std::optional<RunLock> lock;
    try {
      lock.emplace(directory, timing);
    } catch (const Error& error) {
      result = error.code() == ExitCode::busy ? 'b' : 'e';
    }
    if (::write(results, &result, 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }

  std::vector<pid_t> children_;
  std::string results_;
};

TEST_F(RunLocks, ExactlyOneOfSeveralProcessesWins) {
  for (int round = 0; round < 10; ++round) {
    const Race race(6, directory(), kQuick);  // from the second round on, the killed winner's name is in the file
    EXPECT_EQ(race.count('w'), 1) << race.results();
    EXPECT_EQ(race.count('b'), 5) << race.results();
  }
}

TEST_F(RunLocks, ExactlyOneOfSeveralHostsTakesADeadHostsLock) {
  locks = Locks::unshared;
  held_by(kElsewhere);
  const Race race(4, directory(), {300ms, 3});
  EXPECT_EQ(race.count('w'), 1) << race.results();
  EXPECT_EQ(race.count('b'), 3) << race.results();
}

}  // namespace
}  // namespace headroom
