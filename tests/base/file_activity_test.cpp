// A file operation that hangs can be named: the file system is a pipe that nobody opens at the other end.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <thread>

#include "base/activity.h"
#include "base/append_file.h"
#include "base/file.h"
#include "base/file_writer.h"
#include "tests/scratch.h"

namespace headroom {
namespace {

// The first thing that another thread is seen to be in.
std::string first_occupation() {
  for (;;) {
    if (const auto all = occupations(); !all.empty()) return all[0].what;
    std::this_thread::yield();
  }
}

class HangingFile : public testing::Test {
 protected:
  HangingFile() { EXPECT_EQ(::mkfifo(path_.c_str(), 0600), 0); }

  // What `operation`, which opens the pipe at one end, is seen to be in until somebody opens the other.
  template <class Operation>
  std::string seen_in(int other_end, Operation operation) {
    std::thread thread(operation);
    std::string seen = first_occupation();
    Descriptor(::open(path_.c_str(), other_end | O_CLOEXEC));  // opened and closed: a reader sees the end at once
    thread.join();
    return seen;
  }

  test::Scratch scratch_;
  std::filesystem::path path_ = scratch_ / "pipe";
};

TEST_F(HangingFile, IsNamedByWhoeverOpensIt) {
  const std::string name = "'" + path_.string() + "'";
  EXPECT_EQ(seen_in(O_RDWR, [&] { const AppendFile file(path_); }), "open of " + name);
  EXPECT_EQ(seen_in(O_RDWR, [&] { const FileWriter file(path_); }), "create of " + name);
}

TEST_F(HangingFile, IsNamedByItsReader) {
  EXPECT_EQ(seen_in(O_WRONLY, [&] { EXPECT_EQ(read_file(path_), ""); }), "read of '" + path_.string() + "'");
}

}  // namespace
}  // namespace headroom
