// Files are whole or not there, whatever happens while they are written.
#include "base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <sstream>

#include "base/error.h"

namespace headroom {
namespace {

using ::testing::HasSubstr;

std::string content(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// No file of this process may grow beyond a size: the kernel then fails writes in the middle, as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    old_handler_ = std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limited{bytes, old_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limited);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_{};
  void (*old_handler_)(int);
};

class Files : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("headroom-files-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  template <class Action>
  std::string failure(Action action) {
    try {
      action();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::disk_full);
      EXPECT_NE(error.hint(), "");
      return error.what();
    }
    ADD_FAILURE() << "no error";
    return "";
  }

  std::filesystem::path folder_;
};

TEST_F(Files, AtomicWriteReplacesTheWholeFile) {
  const auto path = folder_ / "a.json";
  write_file_atomically(path, "a long first version");
  write_file_atomically(path, "second");
  EXPECT_EQ(content(path), "second");
  EXPECT_FALSE(std::filesystem::exists(path.string() + ".partial"));
}

TEST_F(Files, AFailedAtomicWriteLeavesTheOldFile) {
  const auto path = folder_ / "a.json";
  write_file_atomically(path, "old");
  {
    const FileSizeLimit limit(10);
    EXPECT_THAT(failure([&] { write_file_atomically(path, std::string(100, 'x')); }), HasSubstr(path.string()));
  }
  EXPECT_EQ(content(path), "old");
  EXPECT_FALSE(std::filesystem::exists(path.string() + ".partial"));
}

TEST_F(Files, AVanishedDirectoryIsAnErrorThatNamesIt) {
  EXPECT_THAT(failure([&] { write_file_atomically(folder_ / "gone" / "a", "x"); }),
              HasSubstr((folder_ / "gone").string()));
  EXPECT_THAT(failure([&] { AppendFile file(folder_ / "gone" / "a"); }), HasSubstr("No such file"));
  std::ofstream(folder_ / "file") << "x";
  EXPECT_THAT(failure([&] { make_directories(folder_ / "file" / "sub"); }), HasSubstr("Not a directory"));
}

TEST_F(Files, AppendedRecordsAreThereAtOnce) {
  const auto path = folder_ / "log";
  std::ofstream(path) << "zero\n";
  AppendFile file(path);
  EXPECT_EQ(file.size(), 5u);
  file.append("one\n");
  EXPECT_EQ(content(path), "zero\none\n");
  AppendFile moved = std::move(file);
  moved.append("two\n");
  moved.sync();
  EXPECT_EQ(content(path), "zero\none\ntwo\n");
  EXPECT_EQ(moved.size(), 13u);
}

TEST_F(Files, ARecordThatDoesNotFitLeavesNothingOfItself) {
  const auto path = folder_ / "log";
  AppendFile file(path);
  file.append("first\n");
  {
    const FileSizeLimit limit(20);
    EXPECT_THAT(failure([&] { file.append(std::string(100, 'x') + "\n"); }), HasSubstr("append to"));
  }
  EXPECT_EQ(content(path), "first\n");
  file.append("second\n");
  EXPECT_EQ(content(path), "first\nsecond\n");
}

TEST_F(Files, AFullDeviceSaysSo) {
  AppendFile file("/dev/full");
  EXPECT_THAT(failure([&] { file.append("x"); }), HasSubstr("No space left on device"));
}

}  // namespace
}  // namespace headroom
