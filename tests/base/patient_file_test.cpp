// A disk that is full or away for a while costs no record: what waits is written once, in order, when it can be.
#include "base/patient_file.h"

#include <gmock/gmock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "tests/base/file_size_limit.h"
#include "tests/base/write_failure.h"
#include "tests/scratch.h"

namespace {

bool disk_loses_what_it_took = false;

}  // namespace

// In place of the C library's, in this program: there is no other way to a disk that fails so late.
extern "C" int fsync(int descriptor) {
  if (disk_loses_what_it_took) {
    errno = ENOSPC;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fsync, descriptor));
}

namespace headroom {
namespace {

namespace fs = std::filesystem;

using test::content_of;
using test::failure;
using test::FileSizeLimit;
using test::Scratch;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Optional;

class PatientFiles : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directory(folder_); }

  const Scratch scratch_;
  const fs::path folder_ = scratch_ / "logs";
  const fs::path away_ = scratch_ / "away";
  const fs::path path_ = folder_ / "log";
};

TEST_F(PatientFiles, WriteAtOnceWhileAllIsWell) {
  scratch_.file("logs/log", "zero\n");
  PatientFile file(path_);
  file.append("one\n");
  EXPECT_EQ(content_of(path_), "zero\none\n");
  file.sync();
  EXPECT_EQ(file.trouble(), std::nullopt);
}

TEST_F(PatientFiles, KeepWhatAFullDiskDoesNotTake) {
  PatientFile file(path_);
  file.append("first\n");
  {
    const FileSizeLimit limit(10);
    file.append("second\n");
    EXPECT_THAT(file.trouble(), Optional(AllOf(HasSubstr("append to '" + path_.string() + "'"),
                                               HasSubstr("; 1 record waits in memory"))));
    // It would fit, but comes after one that does not.
    file.append("3\n");
    EXPECT_THAT(file.trouble(), Optional(HasSubstr("; 2 records wait in memory")));
    EXPECT_THAT(failure([&] { file.sync(); }), HasSubstr("; 2 records wait in memory"));
    EXPECT_EQ(content_of(path_), "first\n");
  }
  file.append("fourth\n");
  EXPECT_EQ(file.trouble(), std::nullopt);
  EXPECT_EQ(content_of(path_), "first\nsecond\n3\nfourth\n");
}

TEST_F(PatientFiles, WriteWhatFitsOfWhatWaits) {
  PatientFile file(path_);
  {
    const FileSizeLimit limit(0);
    file.append("one\n");
    file.append("two\n");
  }
  {
    const FileSizeLimit limit(6);
    file.retry();
    EXPECT_THAT(file.trouble(), Optional(HasSubstr("1 record waits")));
    EXPECT_EQ(content_of(path_), "one\n");
  }
  file.sync();
  EXPECT_EQ(content_of(path_), "one\ntwo\n");
}

TEST_F(PatientFiles, TryOnceMoreAtTheirEnd) {
  {
    const FileSizeLimit limit(0);
    PatientFile file(path_);
    file.append("one\n");
  }
  EXPECT_EQ(content_of(path_), "");  // in vain
  {
    PatientFile file(path_);
    {
      const FileSizeLimit limit(0);
      file.append("one\n");
    }
  }
  EXPECT_EQ(content_of(path_), "one\n");
}

TEST_F(PatientFiles, WaitForADirectoryThatWasMovedAwayAndBack) {
  PatientFile file(path_);
  file.append("one\n");
  fs::rename(folder_, away_);
  file.append("two\n");
  file.append("three\n");
  EXPECT_THAT(file.trouble(), Optional(AllOf(HasSubstr("No such file"), HasSubstr("2 records wait"))));
  EXPECT_EQ(content_of(away_ / "log"), "one\n");  // what no longer bears the name gets nothing
  EXPECT_FALSE(fs::exists(folder_));
  fs::rename(away_, folder_);
  file.sync();
  EXPECT_EQ(content_of(path_), "one\ntwo\nthree\n");
}

TEST_F(PatientFiles, WriteEverythingSinceTheLastSyncIntoAFileMadeAnew) {
  PatientFile file(path_);
  file.append("synced\n");
  file.sync();
  file.append("one\n");
  fs::remove_all(folder_);
  file.append("two\n");
  EXPECT_THAT(file.trouble(), Optional(HasSubstr("1 record waits")));
  fs::create_directory(folder_);
  file.append("three\n");
  EXPECT_EQ(file.trouble(), std::nullopt);
  EXPECT_EQ(content_of(path_), "one\ntwo\nthree\n");
}

TEST_F(PatientFiles, ARemovedFileIsMadeAnew) {
  PatientFile file(path_);
  file.append("one\n");
  fs::remove(path_);
  file.append("two\n");
  file.append("three\n");
  EXPECT_EQ(content_of(path_), "one\ntwo\nthree\n");
}

// A directory restored from a copy that was made while the file grew.
TEST_F(PatientFiles, GoOnBehindTheLastWholeRecordOfACopy) {
  for (const std::string copied : {"one\ntwo\n", "one\ntw", "one\n", "o", ""}) {
    fs::remove_all(folder_);
    fs::create_directory(folder_);
    PatientFile file(path_);
    file.append("one\n");
    file.append("two\n");
    fs::remove_all(folder_);
    file.append("three\n");
    scratch_.file("logs/log", copied);
    file.sync();
    EXPECT_EQ(content_of(path_), "one\ntwo\nthree\n") << "copied: " << copied;
  }
}

TEST_F(PatientFiles, AFileThatHoldsMoreIsNotCut) {
  PatientFile file(path_);
  file.append("one\n");
  fs::remove(path_);
  scratch_.file("logs/log", "somebody else's\n");
  file.append("two\n");
  EXPECT_EQ(content_of(path_), "somebody else's\ntwo\n");
}

TEST_F(PatientFiles, AFileInTheDirectorysPlaceIsWaitedOut) {
  PatientFile file(path_);
  fs::remove_all(folder_);
  scratch_.file("logs", "in the way");
  file.append("one\n");
  EXPECT_THAT(file.trouble(), Optional(HasSubstr("Not a directory")));
  fs::remove(folder_);
  fs::create_directory(folder_);
  file.sync();
  EXPECT_EQ(content_of(path_), "one\n");
}

// Network file systems may take records into memory and find the disk full when they are to be written there.
TEST_F(PatientFiles, WriteAgainWhatAFailedSyncMayHaveLost) {
  PatientFile file(path_);
  file.append("synced\n");
  file.sync();
  file.append("one\n");
  file.append("two\n");
  disk_loses_what_it_took = true;
  EXPECT_THAT(failure([&] { file.sync(); }), AllOf(HasSubstr("synchronise"), HasSubstr("; 2 records wait")));
  disk_loses_what_it_took = false;
  EXPECT_EQ(content_of(path_), "synced\n");
  file.sync();
  EXPECT_EQ(content_of(path_), "synced\none\ntwo\n");
  EXPECT_EQ(file.trouble(), std::nullopt);
}

TEST_F(PatientFiles, OnlyTheLastMegabyteIsRemembered) {
  PatientFile file(path_);
  const std::string large(600'000, 'x');
  file.append("first\n");
  file.append(large);
  file.append(large);
  fs::remove(path_);
  file.append("last\n");
  file.retry();
  EXPECT_EQ(content_of(path_), large + "last\n");
}

TEST_F(PatientFiles, APlaceThatCannotBeWrittenFromTheStartIsAnError) {
  EXPECT_THAT(failure([&] { const PatientFile file(scratch_ / "gone/log"); }), HasSubstr("No such file"));
}

}  // namespace
}  // namespace headroom
