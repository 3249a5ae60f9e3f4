// Every fuzz target takes its seeds: valid inputs of every form, and those that once brought a parser down.
#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>
#include <set>

#include "tests/fuzz/target.h"
#include "tests/scratch.h"
#include "tests/source_dir.h"

namespace headroom::fuzz {

void PrintTo(const Target& target, std::ostream* out) {
  *out << target.name;
}

namespace {

namespace fs = std::filesystem;

fs::path seeds() {
  return fs::path(test::source_dir()) / "tests/fuzz/seeds";
}

class Seeds : public ::testing::TestWithParam<Target> {};

TEST_P(Seeds, AreTakenOrRefusedAsTheyShould) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(seeds() / GetParam().name)) files.push_back(entry.path());
  ASSERT_FALSE(files.empty()) << "no seeds for " << GetParam().name;
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    SCOPED_TRACE(file.string());
    EXPECT_NO_THROW(run(GetParam(), test::content_of(file)));
  }
}

INSTANTIATE_TEST_SUITE_P(Fuzz, Seeds, ::testing::ValuesIn(targets()),
                         [](const auto& tested) { return tested.param.name; });

TEST(SeedDirectories, AreThoseOfTheTargets) {
  std::set<std::string> names, directories;
  for (const Target& target : targets()) names.insert(target.name);
  for (const auto& entry : fs::directory_iterator(seeds())) directories.insert(entry.path().filename().string());
  EXPECT_FALSE(names.empty());
  EXPECT_EQ(directories, names);
}

// What a target may not let pass.
TEST(Targets, AreRunSoThatOnlyTheirOwnRefusalsPass) {
  const auto refuse = [](std::string_view) { throw Error(ExitCode::bad_data, "no"); };
  EXPECT_NO_THROW(run({"x", {ExitCode::bad_config, ExitCode::bad_data}, refuse}, ""));
  EXPECT_THROW(run({"x", {ExitCode::bad_config}, refuse}, ""), Violation);
  const auto break_check = [](std::string_view bytes) { HEADROOM_CHECK(bytes.empty(), "not empty"); };
  EXPECT_NO_THROW(run({"x", {}, break_check}, ""));
  EXPECT_THROW(run({"x", {ExitCode::bad_data}, break_check}, "x"), Violation);
  const auto stray = [](std::string_view) { throw std::out_of_range("stray"); };
  EXPECT_THROW(run({"x", {ExitCode::bad_data}, stray}, ""), std::out_of_range);
}

TEST(TextParts, AreCutAtLinesOfTwoPercentSigns) {
  using Parts = std::vector<std::string>;
  EXPECT_EQ(text_parts("a\n%%\nb\n%%\nc\n%%\nd", 3), (Parts{"a\n", "b\n", "c\n%%\nd"}));
  EXPECT_EQ(text_parts("a%%\nb", 2), (Parts{"a%%\nb", ""}));
}

}  // namespace
}  // namespace headroom::fuzz
