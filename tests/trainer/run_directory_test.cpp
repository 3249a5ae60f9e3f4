// One run a directory: the lock holds against another process, says who has it, and dies with its owner.
#include "trainer/run_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "base/error.h"
#include "base/system.h"

namespace headroom {
namespace {

using ::testing::HasSubstr;

class RunDirectories : public ::testing::Test {
 protected:
  void SetUp() override {
    parent_ = std::filesystem::temp_directory_path() / ("headroom-runs-" + std::to_string(::getpid()));
    path_ = parent_ / "runs" / "tvr";
  }
  void TearDown() override { std::filesystem::remove_all(parent_); }

  std::filesystem::path parent_;
  std::filesystem::path path_;
};

// Another process that owns the directory until it is killed.
class OtherRun {
 public:
  explicit OtherRun(const std::filesystem::path& path) {
    int ready[2];
    EXPECT_EQ(::pipe(ready), 0);
    process_ = ::fork();
    if (process_ == 0) {
      const RunDirectory mine = RunDirectory::own(path);
      if (::write(ready[1], "x", 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    char byte = 0;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    ::close(ready[0]);
    ::close(ready[1]);
  }
  ~OtherRun() { end(); }
  void end() {
    if (process_ > 0) {
      ::kill(process_, SIGKILL);
      ::waitpid(process_, nullptr, 0);
    }
    process_ = -1;
  }
  pid_t process() const { return process_; }

 private:
  pid_t process_ = -1;
};

TEST_F(RunDirectories, HaveTheirFolders) {
  const RunDirectory run = RunDirectory::own(path_);
  for (const char* folder : {"logs", "tensorboard", "snapshots", "checkpoints", "report"}) {
    EXPECT_TRUE(std::filesystem::is_directory(path_ / folder)) << folder;
  }
  EXPECT_EQ(run.metrics_file(), path_ / "metrics.jsonl");
  EXPECT_EQ(RunDirectory::join(path_).checkpoints(), path_ / "checkpoints");
}

TEST_F(RunDirectories, AreRefusedWhileAnotherRunHoldsThem) {
  const OtherRun other(path_);
  try {
    RunDirectory::own(path_);
    FAIL() << "two runs in one directory";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::busy);
    EXPECT_THAT(error.what(), HasSubstr("'" + path_.string() + "' is in use by process " +
                                        std::to_string(other.process()) + " on host " + host_name()));
    EXPECT_THAT(error.hint(), HasSubstr("--set name="));
  }
}

TEST_F(RunDirectories, AreFreeAgainWhenTheOwnerWasKilled) {
  OtherRun other(path_);
  other.end();
  const RunDirectory run = RunDirectory::own(path_);
  std::ifstream lock(path_ / "lock");
  std::string line;
  std::getline(lock, line);
  EXPECT_THAT(line, HasSubstr("process " + std::to_string(::getpid()) + " "));
}

TEST_F(RunDirectories, AreGivenBackAndSurviveAMove) {
  {
    RunDirectory run = RunDirectory::own(path_);
    const RunDirectory moved = std::move(run);
    EXPECT_THROW(RunDirectory::own(path_), Error);
    const RunDirectory joined = RunDirectory::join(path_);  // takes no lock and gives none back
  }
  RunDirectory::own(path_);
}

TEST_F(RunDirectories, CannotBeMadeBelowAFile) {
  std::filesystem::create_directories(parent_);
  std::ofstream(parent_ / "runs") << "a file\n";
  try {
    RunDirectory::own(path_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::disk_full);
    EXPECT_THAT(error.what(), HasSubstr(path_.string()));
  }
}

}  // namespace
}  // namespace headroom
