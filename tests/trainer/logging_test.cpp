// What reaches the console and what reaches the file, by rank and level.
#include "trainer/logging.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/error.h"

namespace headroom {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Logs : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("headroom-logs-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // What the console shows of one message of each severity.
  std::string console(int rank, const std::string& level) const {
    ::testing::internal::CaptureStderr();
    {
      const Logging logging(rank, level, folder_);
      log_message(Severity::trace, "a trace");
      log_debug("debug {}", 1);
      log_info("info {}", 2);
      log_warning("warning {}", 3);
      log_error("error {}", 4);
    }
    return ::testing::internal::GetCapturedStderr();
  }
  std::string file(int rank) const {
    std::ostringstream text;
    text << std::ifstream(folder_ / fmt::format("rank-{:05}.log", rank)).rdbuf();
    return text.str();
  }

  std::filesystem::path folder_;
};

TEST_F(Logs, RankZeroShowsItsLevelAndAbove) {
  EXPECT_THAT(console(0, "info"), AllOf(HasSubstr("[0] info info 2\n"), HasSubstr("[0] warning warning 3\n"),
                                        HasSubstr("[0] error error 4\n"), Not(HasSubstr("debug"))));
  EXPECT_THAT(file(0), AllOf(HasSubstr("[0] info info 2\n"), Not(HasSubstr("debug"))));
}

TEST_F(Logs, OtherRanksShowWarningsAndKeepTheRestInTheirFile) {
  EXPECT_THAT(console(3, "debug"), AllOf(HasSubstr("[3] warning warning 3\n"), Not(HasSubstr("info"))));
  EXPECT_THAT(file(3),
              AllOf(HasSubstr("[3] debug debug 1\n"), HasSubstr("[3] info info 2\n"), Not(HasSubstr("trace"))));
}

TEST_F(Logs, AHighLevelHoldsForEveryRank) {
  EXPECT_THAT(console(1, "error"), AllOf(HasSubstr("error 4"), Not(HasSubstr("warning"))));
}

TEST_F(Logs, AMessageHasTimeRankAndSeverityOnEveryLine) {
  ::testing::internal::CaptureStderr();
  {
    const Logging logging(0, "info", folder_);
    log_info("one\n\ntwo\n");
  }
  ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(file(0), ::testing::MatchesRegex(
                           "....-..-.. ..:..:.. .0. info one\n....-..-.. ..:..:.. .0. info \n....-..-.. ..:..:.. .0. "
                           "info two\n"));
}

TEST_F(Logs, AFileGoesOnWhereItStopped) {
  console(0, "info");
  const std::string first = file(0);
  console(0, "info");
  EXPECT_EQ(file(0).size(), 2 * first.size());
}

TEST_F(Logs, NothingIsSaidWithoutLogging) {
  ::testing::internal::CaptureStderr();
  ::testing::internal::CaptureStdout();
  log_error("nobody listens");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "");
}

// What the console shows, without the times.
std::string captured() {
  std::istringstream text(::testing::internal::GetCapturedStderr());
  std::string lines;
  for (std::string line; std::getline(text, line);) lines += line.substr(std::min<std::size_t>(20, line.size())) + "\n";
  return lines;
}

TEST_F(Logs, AVanishedDirectoryIsToldOnceAndTheFileCatchesUp) {
  const std::string path = (folder_ / "rank-00000.log").string();
  ::testing::internal::CaptureStderr();
  {
    const Logging logging(0, "info", folder_);
    std::filesystem::rename(folder_, folder_.string() + "-away");
    log_info("one");
    log_info("two");
    std::filesystem::rename(folder_.string() + "-away", folder_);
    log_info("three");
    log_info("four");
  }
  EXPECT_EQ(captured(), fmt::format("[0] info one\n"
                                    "[0] warning the log cannot be written for now: cannot open '{0}': No such file or "
                                    "directory; 1 record waits in memory\n"
                                    "[0] info two\n"
                                    "[0] info three\n"
                                    "[0] info '{0}' is written again and has everything\n"
                                    "[0] info four\n",
                                    path));
  const std::string line = "....-..-.. ..:..:.. .0. info ";
  EXPECT_THAT(file(0), ::testing::MatchesRegex(line + "one\n" + line + "two\n" + line + "three\n" + line + "four\n"));
}

TEST_F(Logs, CatchUpAtTheEndOrSayWhatIsMissing) {
  ::testing::internal::CaptureStderr();
  {
    const Logging logging(2, "info", folder_);
    std::filesystem::rename(folder_, folder_.string() + "-away");
    log_info("one");
    std::filesystem::rename(folder_.string() + "-away", folder_);
  }
  EXPECT_THAT(captured(), AllOf(HasSubstr("[2] warning the log cannot"), HasSubstr("is written again")));
  EXPECT_THAT(file(2), HasSubstr("info one\n"));

  ::testing::internal::CaptureStderr();
  {
    const Logging logging(0, "info", folder_);
    std::filesystem::remove_all(folder_);
    log_info("lost");
  }
  EXPECT_THAT(captured(), AllOf(HasSubstr("[0] warning the log ends early: "), HasSubstr("1 record waits")));
}

TEST_F(Logs, AFileThatCannotBeOpenedIsAnError) {
  try {
    const Logging logging(0, "info", folder_ / "gone");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::disk_full);
    EXPECT_THAT(error.what(), HasSubstr("rank-00000.log"));
  }
  EXPECT_THROW(Logging(0, "loud", folder_), Error);
  EXPECT_THAT(console(0, "info"), HasSubstr("info 2"));  // the failures left nothing behind
}

}  // namespace
}  // namespace headroom
