// Files that were cut short, changed in one bit, or removed, at random, one at a time: going on from what is left
// either ends with the bits of the run that nobody disturbed, or says which file is the matter; it never crashes,
// hangs, or takes what is wrong for right.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <map>

#include "tests/faults/job.h"
#include "tests/faults/trials.h"

namespace headroom::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSettings =
    "train.steps = 12\ncheckpoint.every = 3\ncheckpoint.keep = 3\nsnapshot.every = 4\neval.every = 4\n";
constexpr double kLongest = 120.0;  // seconds

void cut_short(const fs::path& file, Draw& draw) {
  const auto size = fs::file_size(file);
  fs::resize_file(file, size == 0 ? 0 : draw.index(size));
}

void flip_a_bit(const fs::path& file, Draw& draw) {
  const auto size = fs::file_size(file);
  if (size == 0) return;
  const auto place = static_cast<std::streamoff>(draw.index(size));
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(place);
  const auto byte = static_cast<char>(stream.get() ^ (1 << draw.index(8)));
  stream.seekp(place);
  stream.put(byte);
}

void remove_it(const fs::path& file, Draw& /*draw*/) {
  fs::remove(file);
}

struct Damage {
  const char* name;
  void (*inflict)(const fs::path& file, Draw& draw);
};
constexpr Damage kDamages[] = {{"cut short", cut_short}, {"a bit flipped", flip_a_bit}, {"removed", remove_it}};

// A run that was killed two thirds of the way, with all it left behind, and the one that nobody disturbed.
class Damaged : public testing::Test {
 protected:
  void SetUp() override {
    const std::string config = here_.config("run", kSettings);
    ASSERT_EQ(Job(1, "train " + config, here_ / "log").wait(kLongest).status, 0);
    fs::rename(here_.run("run"), here_ / "whole");
    ::setenv("HEADROOM_REHEARSE", "kill step=11", 1);
    Job(1, "train " + config, here_ / "log").wait(kLongest);
    ::unsetenv("HEADROOM_REHEARSE");
    ASSERT_EQ(steps_in(here_.run("run")), 10);
    fs::rename(here_.run("run"), here_ / "killed");
    fs::copy(here_ / "corpus", here_ / "corpus-whole", fs::copy_options::recursive);
  }

  // Everything as it was when the run was killed.
  void restore() {
    fs::remove_all(here_ / "runs");
    fs::create_directories(here_ / "runs");
    fs::copy(here_ / "killed", here_.run("run"), fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    fs::remove_all(here_ / "corpus");
    fs::copy(here_ / "corpus-whole", here_ / "corpus", fs::copy_options::recursive);
  }

  std::vector<fs::path> files() const {
    std::vector<fs::path> found;
    for (const fs::path& root : {here_.run("run"), here_ / "corpus"}) {
      for (const auto& entry : fs::recursive_directory_iterator(root)) {
        if (entry.is_regular_file() && !entry.is_symlink()) found.push_back(entry.path());
      }
    }
    std::sort(found.begin(), found.end());
    return found;
  }

  // "checkpoints/*/rank-00000.h5": of what kind a file is, whatever its step.
  std::string kind_of(const fs::path& file) const {
    std::string kind = fs::relative(file, here_ / "runs/run").generic_string();
    if (kind.starts_with("..")) return "corpus/" + file.filename().string();
    if (kind.starts_with("checkpoints/")) return "checkpoints/*/" + file.filename().string();
    if (kind.starts_with("snapshots/")) return "snapshots/*.h5";
    if (kind.starts_with("tensorboard/")) return "tensorboard/*";
    return kind;
  }

  Workspace here_;
};

TEST_F(Damaged, GoesOnToTheSameBitsOrSaysWhichFileIsTheMatter) {
  const int count = trials(45);
  const std::vector<std::string> expected = results_of(here_ / "whole");
  std::map<std::string, int> outcomes;
  restore();
  std::map<std::string, std::vector<fs::path>> kinds;
  for (const fs::path& file : files()) kinds[kind_of(file)].push_back(file);
  for (int trial = 0; trial < count; ++trial) {
    Draw draw(trial);
    restore();
    // Kinds and damages in turn, so that every kind meets every damage; file and place at random.
    const auto kind = std::next(kinds.begin(), trial % static_cast<int>(kinds.size()));
    const fs::path file = draw.from(kind->second);
    const Damage& damage = kDamages[static_cast<std::size_t>(trial) / kinds.size() % std::size(kDamages)];
    const std::string whole = content_of(file);
    damage.inflict(file, draw);
    const std::string damaged = content_of(file);
    SCOPED_TRACE("HEADROOM_FAULT_SEED=" + std::to_string(Draw::seed()) + ", trial " + std::to_string(trial) + ": " +
                 file.string() + " " + damage.name);

    const Outcome resumed =
        Job(1, "train " + here_.config("run", kSettings) + " --resume", here_ / "log").wait(kLongest);
    ASSERT_NE(resumed.status, -1) << "it hangs: " << resumed.output;
    ASSERT_LT(resumed.status, 128) << "it crashes: " << resumed.output;
    if (resumed.status == 0) {
      const std::vector<std::string> results = results_of(here_.run("run"));
      if (results != expected) {
        // Without its past metrics, and says so.
        ASSERT_THAT(resumed.output, testing::HasSubstr("metrics.jsonl is missing"));
        const auto from = expected.end() - std::ssize(results);
        ASSERT_EQ(results, std::vector<std::string>(from, expected.end())) << resumed.output;
      }
      const Outcome same = compare_checkpoints(here_.run("run"), here_ / "whole");
      ASSERT_EQ(same.status, 0) << same.output;
      ++outcomes["went on to the same bits"];
    } else {
      ASSERT_NE(resumed.status, 1) << "an internal error: " << resumed.output;
      ASSERT_THAT(resumed.output, testing::HasSubstr("error: "));
      // The file's own name, or where its content was meant for: a corpus' parts name one another.
      ASSERT_THAT(resumed.output, testing::AnyOf(testing::HasSubstr(file.filename().string()),
                                                 testing::HasSubstr(file.parent_path().string())));
      ++outcomes["refused by name"];
    }
    // The report reads the snapshots, all of them; one that came again is whole.
    const Outcome report = headroom("analyze " + here_.run("run").string());
    ASSERT_TRUE(report.status == 0 || (report.status > 2 && report.status < 7)) << report.output;
    const bool still_damaged = fs::exists(file) && content_of(file) == damaged && damaged != whole;
    if (kind->first == "snapshots/*.h5" && still_damaged) {
      ASSERT_NE(report.status, 0) << "a damaged snapshot went into the report";
      ASSERT_THAT(report.output, testing::HasSubstr(file.filename().string()));
    }
  }
  std::cout << count << " damages to " << kinds.size() << " kinds of files:";
  for (const auto& [outcome, times] : outcomes) std::cout << " " << times << " " << outcome << ";";
  std::cout << " crashes, hangs, silent loads: none\n";
}

}  // namespace
}  // namespace headroom::test
