// Which checkpoints a directory has, and what becomes of the leftovers of runs that died at any moment of a save.
#include "trainer/checkpoint_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/scratch.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class Checkpoints : public testing::Test {
 protected:
  // A finished checkpoint of this step, with `content`.
  void publish(std::int64_t step, const std::string& content = "") {
    directory_.begin(step);
    std::ofstream(directory_.partial(step) / "manifest.json") << content;
    directory_.publish(step);
    directory_.point_latest();
  }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(scratch_.path())) found.push_back(entry.path().filename());
    return found;
  }

  test::Scratch scratch_;
  CheckpointDirectory directory_{scratch_.path()};
};

TEST_F(Checkpoints, AreListedByStepAndNothingElseIs) {
  for (const std::int64_t step : {900, 1'000'000'000, 20}) publish(step);
  directory_.begin(5);
  fs::create_directory(scratch_ / "step-");
  fs::create_directory(scratch_ / "step-12x");
  fs::create_directory(scratch_ / "notes");
  EXPECT_THAT(directory_.all(),
              ElementsAre(directory_.complete(20), directory_.complete(900), directory_.complete(1'000'000'000)));
  EXPECT_EQ(directory_.latest(), directory_.complete(1'000'000'000));
  EXPECT_THAT(directory_.up_to(900), ElementsAre(directory_.complete(900), directory_.complete(20)));
  EXPECT_THAT(CheckpointDirectory(scratch_ / "missing").all(), IsEmpty());
}

TEST_F(Checkpoints, LatestFollowsThePublishedOne) {
  publish(3);
  EXPECT_EQ(fs::read_symlink(scratch_ / "latest"), "step-00000003");
  directory_.begin(4);
  EXPECT_EQ(fs::read_symlink(scratch_ / "latest"), "step-00000003");
  directory_.publish(4);
  directory_.point_latest();
  EXPECT_EQ(fs::read_symlink(scratch_ / "latest"), "step-00000004");
}

TEST_F(Checkpoints, OneOfTheSameStepTakesTheOldOnesPlace) {
  publish(3, "old");
  publish(3, "new");
  directory_.prune({}, 3);
  EXPECT_EQ(test::content_of(scratch_ / "step-00000003/manifest.json"), "new");
  EXPECT_THAT(names(), UnorderedElementsAre("step-00000003", "latest"));
}

TEST_F(Checkpoints, KeepTheNewestAndMultiplesForGood) {
  for (std::int64_t step = 1; step <= 7; ++step) publish(step);
  directory_.prune({.newest = 1, .every = 3}, 7);
  EXPECT_THAT(names(), UnorderedElementsAre("step-00000003", "step-00000006", "step-00000007", "latest"));
  directory_.prune({.newest = 1, .every = 0}, 6);  // the one just made stays whatever lies behind it
  EXPECT_THAT(names(), UnorderedElementsAre("step-00000006", "step-00000007", "latest"));
}

// Killed while writing, and between the two renames of a publication over an old one of the same step.
TEST_F(Checkpoints, LeftoversAreClearedAwayAndNothingCompleteIsLost) {
  publish(3, "three");
  publish(6, "six");
  directory_.begin(9);
  fs::rename(directory_.complete(6), scratch_ / "step-00000006.old");
  directory_.tidy();
  EXPECT_THAT(names(), UnorderedElementsAre("step-00000003", "step-00000006", "latest"));
  EXPECT_EQ(test::content_of(scratch_ / "step-00000006/manifest.json"), "six");

  fs::copy(directory_.complete(6), scratch_ / "step-00000006.old");  // killed behind the second rename
  directory_.tidy();
  EXPECT_THAT(names(), UnorderedElementsAre("step-00000003", "step-00000006", "latest"));
}

TEST_F(Checkpoints, ADamagedOneIsSetAsideAndNoLongerListed) {
  publish(3);
  publish(6);
  directory_.set_aside(directory_.complete(6), CheckpointDirectory::Aside::damaged);
  EXPECT_EQ(fs::read_symlink(scratch_ / "latest"), "step-00000003");
  EXPECT_EQ(directory_.latest(), directory_.complete(3));
  EXPECT_TRUE(fs::exists(scratch_ / "step-00000006.damaged"));
  directory_.tidy();
  EXPECT_TRUE(fs::exists(scratch_ / "step-00000006.damaged"));
}

TEST_F(Checkpoints, AreNotMadeWhereTheDirectoryIsNot) {
  const CheckpointDirectory away(scratch_ / "away");
  try {
    away.begin(1);
    ADD_FAILURE() << "a checkpoint was begun in a directory that is not there";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::disk_full);
  }
  EXPECT_FALSE(fs::exists(scratch_ / "away"));
}

}  // namespace
}  // namespace headroom
