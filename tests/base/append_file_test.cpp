// Records are there at once and whole, or not at all.
#include "base/append_file.h"

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

TEST(AppendFile, RecordsAreThereAtOnce) {
  const Scratch scratch;
  const auto path = scratch.file("log", "zero\n");
  AppendFile file(path);
  EXPECT_EQ(file.size(), 5u);
  file.append("one\n");
  EXPECT_EQ(content_of(path), "zero\none\n");
  AppendFile moved = std::move(file);
  moved.append("two\n");
  moved.sync();
  EXPECT_EQ(content_of(path), "zero\none\ntwo\n");
  EXPECT_EQ(moved.size(), 13u);
}

TEST(AppendFile, ARecordThatDoesNotFitLeavesNothingOfItself) {
  const Scratch scratch;
  const auto path = scratch / "log";
  AppendFile file(path);
  file.append("first\n");
  {
    const test::FileSizeLimit limit(20);
    EXPECT_THAT(failure([&] { file.append(std::string(100, 'x') + "\n"); }), HasSubstr("append to"));
  }
  EXPECT_EQ(content_of(path), "first\n");
  file.append("second\n");
  EXPECT_EQ(content_of(path), "first\nsecond\n");
}

TEST(AppendFile, AFullDeviceOrAVanishedDirectorySaysSo) {
  const Scratch scratch;
  AppendFile file("/dev/full");
  EXPECT_THAT(failure([&] { file.append("x"); }), HasSubstr("No space left on device"));
  EXPECT_THAT(failure([&] { AppendFile gone(scratch / "gone/a"); }), HasSubstr("No such file"));
}

TEST(AppendFile, AFileThatNoLongerBearsItsNameTakesNothing) {
  const Scratch scratch;
  const auto path = scratch / "log";
  AppendFile file(path);
  file.append("first\n");
  EXPECT_TRUE(file.in_place());
  std::filesystem::rename(path, scratch / "moved");
  EXPECT_FALSE(file.in_place());
  EXPECT_THAT(failure([&] { file.append("second\n"); }), HasSubstr("No such file"));
  scratch.file("log", "another\n");
  EXPECT_FALSE(file.in_place());
  EXPECT_THAT(failure([&] { file.append("third\n"); }), HasSubstr(path.string()));
  EXPECT_EQ(content_of(scratch / "moved"), "first\n");
  EXPECT_EQ(content_of(path), "another\n");
  std::filesystem::rename(scratch / "moved", path);
  file.append("fourth\n");
  EXPECT_EQ(content_of(path), "first\nfourth\n");
}

TEST(AppendFile, IsCutBack) {
  const Scratch scratch;
  const auto path = scratch.file("log", "one\ntwo\n");
  AppendFile file(path);
  file.cut(4);
  file.append("three\n");
  EXPECT_EQ(content_of(path), "one\nthree\n");
}

}  // namespace
}  // namespace headroom
