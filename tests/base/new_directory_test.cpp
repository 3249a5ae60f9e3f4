#include "base/new_directory.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/system.h"
#include "tests/scratch.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) names.push_back(entry.path().filename().string());
  return names;
}

TEST(NewDirectory, AppearsWholeOrNotAtAll) {
  const test::Scratch here;
  {
    NewDirectory made(here / "deep/target/");
    std::ofstream(made.path() / "file") << "x";
    EXPECT_FALSE(fs::exists(here / "deep/target"));
    made.publish();
  }
  EXPECT_THAT(names_in(here / "deep"), testing::ElementsAre("target"));
  EXPECT_TRUE(fs::exists(here / "deep/target/file"));
  EXPECT_THROW(NewDirectory(here / "deep/target"), Error);
  { const NewDirectory given_up(here / "deep/other"); }
  EXPECT_THAT(names_in(here / "deep"), testing::ElementsAre("target"));
}

// What looks like it but was not left by a process of this machine that is gone stays.
TEST(NewDirectory, TakesAwayOnlyWhatIsItsOwn) {
  const test::Scratch here;
  constexpr int kNoProcess = 999'999'999;
  const std::string ours = fmt::format(".target.partial-{}-", host_name());
  const std::string left = fmt::format("{}{}", ours, kNoProcess);
  const std::vector<std::string> others = {"target.partial",
                                           ".target.partial",
                                           ours,
                                           ours + "1",
                                           ours + "x",
                                           fmt::format(".target.partial-another-{}", kNoProcess),
                                           fmt::format(".other.partial-{}-{}", host_name(), kNoProcess)};
  fs::create_directories(here / left / "inside");
  for (const std::string& other : others) fs::create_directories(here / other / "inside");
  NewDirectory made(here / "target");
  EXPECT_FALSE(fs::exists(here / left));
  for (const std::string& other : others) EXPECT_TRUE(fs::exists(here / other / "inside")) << other;
}

}  // namespace
}  // namespace headroom
