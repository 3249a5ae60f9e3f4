// Files are whole or not there, whatever happens while they are written.
#include "base/file.h"

#include <gmock/gmock.h>

#include "tests/base/file_size_limit.h"
#include "tests/base/write_failure.h"
#include "tests/scratch.h"

namespace headroom {
namespace {

using test::content_of;
using test::failure;
using test::Scratch;
using ::testing::HasSubstr;

TEST(File, AtomicWriteReplacesTheWholeFile) {
  const Scratch scratch;
  const auto path = scratch / "a.json";
  write_file_atomically(path, "a long first version");
  write_file_atomically(path, "second");
  EXPECT_EQ(read_file(path), "second");
  EXPECT_FALSE(std::filesystem::exists(path.string() + ".partial"));
}

TEST(File, AFailedAtomicWriteLeavesTheOldFile) {
  const Scratch scratch;
  const auto path = scratch.file("a.json", "old");
  {
    const test::FileSizeLimit limit(10);
    EXPECT_THAT(failure([&] { write_file_atomically(path, std::string(100, 'x')); }), HasSubstr(path.string()));
  }
  EXPECT_EQ(content_of(path), "old");
  EXPECT_FALSE(std::filesystem::exists(path.string() + ".partial"));
}

TEST(File, AVanishedDirectoryIsAnErrorThatNamesIt) {
  const Scratch scratch;
  EXPECT_THAT(failure([&] { write_file_atomically(scratch / "gone/a", "x"); }), HasSubstr((scratch / "gone").string()));
  scratch.file("file", "x");
  EXPECT_THAT(failure([&] { make_directories(scratch / "file/sub"); }), HasSubstr("Not a directory"));
}

TEST(File, AllOfItIsReadAndAMissingOneIsNamed) {
  const Scratch scratch;
  const std::string content = std::string(200'000, 'x') + '\0' + "end";
  EXPECT_EQ(read_file(scratch.file("a", content)), content);
  try {
    read_file(scratch / "missing");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_data);
    EXPECT_THAT(error.what(), HasSubstr((scratch / "missing").string() + ": No such file"));
  }
}

}  // namespace
}  // namespace headroom
