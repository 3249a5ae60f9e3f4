// Runs whose processes are killed at random moments, one of them or all, also while a checkpoint is being written: each
// goes on to the bits of the run that nobody disturbed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <iostream>
#include <map>

#include "tests/faults/job.h"
#include "tests/faults/trials.h"

namespace headroom::test {
namespace {

using ::testing::HasSubstr;
using Clock = std::chrono::steady_clock;

constexpr const char* kSettings =
    "train.steps = 30\ncheckpoint.every = 2\ncheckpoint.keep = 2\neval.every = 6\nsnapshot.every = 10\n"
    "optim.tvr.enabled = true\noptim.tvr.interval = 4\n";
constexpr double kLongest = 120.0;  // seconds a job may take before it counts as hanging

struct LayoutOfRun {
  int ranks;
  int tensor;
};
constexpr LayoutOfRun kLayouts[] = {{1, 1}, {2, 1}, {2, 2}, {4, 2}};

class Kills : public testing::Test {
 protected:
  std::string arguments(const std::string& name, const LayoutOfRun& layout) const {
    return "train " + here_.config(name, kSettings) + " --set parallel.tensor=" + std::to_string(layout.tensor);
  }

  // The run that nobody disturbed, and how long it took.
  double reference(std::size_t layout) {
    const auto known = seconds_.find(layout);
    if (known != seconds_.end()) return known->second;
    const auto begin = Clock::now();
    const Outcome whole =
        Job(kLayouts[layout].ranks, arguments(name_of_reference(layout), kLayouts[layout]), here_ / "reference.log")
            .wait(kLongest);
    EXPECT_EQ(whole.status, 0) << whole.output;
    return seconds_[layout] = std::chrono::duration<double>(Clock::now() - begin).count();
  }
  static std::string name_of_reference(std::size_t layout) { return "whole-" + std::to_string(layout); }

  Workspace here_;
  std::map<std::size_t, double> seconds_;
};

TEST_F(Kills, EveryKilledRunGoesOnToTheSameBits) {
  const int count = trials(10);
  int kills = 0;
  int in_a_save = 0;
  for (int trial = 0; trial < count; ++trial) {
    Draw draw(trial);
    SCOPED_TRACE("HEADROOM_FAULT_SEED=" + std::to_string(Draw::seed()) + ", trial " + std::to_string(trial));
    const std::size_t layout = draw.index(std::size(kLayouts));
    const double duration = reference(layout);
    const std::string name = "trial-" + std::to_string(trial);
    const std::filesystem::path run = here_.run(name);
    const std::string command = arguments(name, kLayouts[layout]);
    // Killed once, or more often; then left alone.
    Outcome end{-1, ""};
    for (int attempt = 0; attempt == 0 || draw.uniform() < 0.35; ++attempt) {
      Job job(kLayouts[layout].ranks, command + (attempt == 0 ? "" : " --resume"), here_ / "trial.log");
      bool in_a_save_now = false;
      if (draw.uniform() < 0.4) {
        // While a checkpoint is there that is not complete, after as many steps as the draw says.
        const auto steps = static_cast<int>(draw.index(25));
        const auto partial = [&] {
          if (steps_in(run) < steps) return false;
          std::error_code error;
          for (const auto& entry : std::filesystem::directory_iterator(run / "checkpoints", error)) {
            if (entry.path().extension() == ".partial") return true;
          }
          return false;
        };
        in_a_save_now = job.wait_until(partial);
      } else {
        const auto moment = Clock::now() + std::chrono::duration<double>(duration * 1.1 * draw.uniform());
        job.wait_until([&] { return Clock::now() > moment; });
      }
      if (draw.uniform() < 0.5) {
        job.kill_rank(draw.index(4));
      } else {
        job.kill_all();
      }
      end = job.wait(kLongest);
      if (end.status != 0) {  // 0: it had ended before
        ++kills;
        in_a_save += in_a_save_now ? 1 : 0;
      }
      ASSERT_NE(end.status, -1) << "ranks outlived a killed one: " << end.output;
    }
    const Outcome resumed = Job(kLayouts[layout].ranks, command + " --resume", here_ / "trial.log").wait(kLongest);
    ASSERT_EQ(resumed.status, 0) << resumed.output;
    ASSERT_EQ(results_of(run), results_of(here_.run(name_of_reference(layout))));
    const Outcome same = compare_checkpoints(run, here_.run(name_of_reference(layout)));
    ASSERT_EQ(same.status, 0) << same.output;
    std::filesystem::remove_all(run);
  }
  std::cout << count << " runs killed " << kills << " times, " << in_a_save
            << " of them while a checkpoint was written; losses: none\n";
}

}  // namespace
}  // namespace headroom::test
