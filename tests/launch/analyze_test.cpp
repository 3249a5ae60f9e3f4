// headroom analyze from outside: what it refuses, and that a refusal leaves no report behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/program.h"

namespace headroom::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(Analyze, UnreadableAndForeignSnapshotsAreRefusedByName) {
  const Workspace here;
  ASSERT_EQ(headroom("train " + here.config("run")).status, 0);
  const fs::path snapshot = here.run("run") / "snapshots/step-00000008.h5";
  const std::string whole = content_of(snapshot);
  const std::string command = "analyze " + here.run("run").string() + " --out " + (here / "report").string();

  const std::vector<std::pair<std::string, std::string>> damages = {
      {"this is no HDF5 file", "foreign"}, {whole.substr(0, whole.size() / 3), "truncated"}, {"", "empty"}};
  for (const auto& [content, what] : damages) {
    SCOPED_TRACE(what);
    std::ofstream(snapshot, std::ios::binary) << content;
    const Outcome outcome = headroom(command);
    EXPECT_EQ(outcome.status, 5) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr(snapshot.string()));
    EXPECT_FALSE(fs::exists(here / "report"));
  }

  // An HDF5 file all right, but somebody else's.
  fs::copy_file(here.run("run") / "checkpoints/step-00000008/rank-00000.h5", snapshot,
                fs::copy_options::overwrite_existing);
  const Outcome other = headroom(command);
  EXPECT_EQ(other.status, 5) << other.output;
  EXPECT_THAT(other.output, HasSubstr(snapshot.string()));

  std::ofstream(snapshot, std::ios::binary) << whole;
  EXPECT_EQ(headroom(command).status, 0);
}

TEST(Analyze, ADirectoryWithoutARunIsRefused) {
  const Workspace here;
  const Outcome outcome = headroom("analyze " + (here / "corpus").string());
  EXPECT_NE(outcome.status, 0);
  EXPECT_THAT(outcome.output, AllOf(HasSubstr((here / "corpus").string()), HasSubstr("hint: ")));
}

}  // namespace
}  // namespace headroom::test
