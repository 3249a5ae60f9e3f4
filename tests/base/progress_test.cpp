// What the progress line says.
#include "base/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace headroom {
namespace {

// Everything written to a temporary file so far.
std::string content_of(std::FILE* file) {
  std::rewind(file);
  std::string content;
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) content += static_cast<char>(c);
  return content;
}

TEST(FormatDuration, UsesTheTwoUnitsThatMatter) {
  EXPECT_EQ(format_duration(-1), "0 s");
  EXPECT_EQ(format_duration(0.2), "1 s");
  EXPECT_EQ(format_duration(59), "59 s");
  EXPECT_EQ(format_duration(59.5), "1 min 00 s");
  EXPECT_EQ(format_duration(185), "3 min 05 s");
  EXPECT_EQ(format_duration(7440), "2 h 04 min");
  EXPECT_EQ(format_duration(3 * 86400 + 7 * 3600), "3 d 07 h");
}

TEST(Progress, TheTimeLeftFollowsFromTheShareDone) {
  std::FILE* out = std::tmpfile();
  ASSERT_NE(out, nullptr);
  {
    Progress progress("train", 200, out);
    EXPECT_EQ(progress.line(0), "train    0 %");
    progress.advance(50, "loss 3.21");
    EXPECT_EQ(progress.line(10), "train   25 %  ETA 30 s  loss 3.21");
    progress.set(200);
    EXPECT_EQ(progress.line(40), "train  100 %");
    progress.set(300);
    EXPECT_EQ(progress.line(40), "train  100 %");
  }
  std::fclose(out);
}

TEST(Progress, WithoutATotalThereIsNoTimeLeft) {
  std::FILE* out = std::tmpfile();
  ASSERT_NE(out, nullptr);
  {
    Progress progress("count", 0, out);
    progress.advance(7, "7 files");
    EXPECT_EQ(progress.line(3), "count  7 files");
  }
  std::fclose(out);
}

TEST(Progress, OffATerminalALogIsNotFloodedAndTheEndIsPlain) {
  std::FILE* out = std::tmpfile();
  ASSERT_NE(out, nullptr);
  {
    Progress progress("encode", 100000, out);
    for (int i = 0; i < 100000; ++i) progress.advance(1);
    progress.finish("5 MB");
    progress.finish("again");
    progress.advance(1);
  }
  EXPECT_THAT(content_of(out), testing::MatchesRegex("encode  done in [0-9]+.[0-9] s  5 MB\n"));
  std::fclose(out);
}

}  // namespace
}  // namespace headroom
