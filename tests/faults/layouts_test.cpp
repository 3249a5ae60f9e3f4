// Runs over many layouts: killed at random moments and gone on with at another number of ranks each time, it has the
// loss curve of the run that nobody disturbed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tests/faults/job.h"
#include "tests/faults/trials.h"

namespace headroom::test {
namespace {

constexpr int kSteps = 40;
constexpr const char* kSettings = "train.steps = 40\ncheckpoint.every = 4\neval.every = 10\noptim.tvr.enabled = true\n";
constexpr double kLongest = 120.0;  // seconds

struct Stage {
  int data;
  int tensor;
  int from_step;  // killed some steps behind it, but for the last stage
};

struct Point {
  double loss;
  std::string layout;
};

// The loss of each step and the layout that it was trained at.
std::vector<Point> curve_of(const std::filesystem::path& run) {
  std::vector<Point> curve;
  std::string layout;
  std::ifstream metrics(run / "metrics.jsonl");
  for (std::string line; std::getline(metrics, line);) {
    const auto record = nlohmann::json::parse(line);
    if (record.contains("layout")) layout = record.at("layout");
    if (record.contains("step")) curve.push_back({record.at("loss"), layout});
  }
  return curve;
}

// The undisturbed run has the first stage's layout.
class Layouts : public testing::TestWithParam<std::vector<Stage>> {};

TEST_P(Layouts, ARunThatChangesThemWithEveryKillHasTheSameLossCurve) {
  const Workspace here;
  Draw draw(0);
  const std::vector<Stage>& stages = GetParam();
  const auto start = [&](const std::string& name, const Stage& stage, const std::string& more) {
    return "train " + here.config(name, kSettings) + " --set parallel.tensor=" + std::to_string(stage.tensor) + more;
  };
  const Outcome whole =
      Job(stages[0].data * stages[0].tensor, start("whole", stages[0], ""), here / "log").wait(kLongest);
  ASSERT_EQ(whole.status, 0) << whole.output;

  for (const Stage& stage : stages) {
    SCOPED_TRACE(std::to_string(stage.data) + "x" + std::to_string(stage.tensor));
    const bool last = &stage == &stages.back();
    Job job(stage.data * stage.tensor, start("run", stage, &stage == &stages.front() ? "" : " --resume"), here / "log");
    if (!last) {
      const int killed_after = stage.from_step + static_cast<int>(draw.index(5));
      ASSERT_TRUE(job.wait_until([&] { return steps_in(here.run("run")) >= killed_after; }));
      job.kill_rank(draw.index(4));
      ASSERT_NE(job.wait(kLongest).status, 0);
    } else {
      const Outcome end = job.wait(kLongest);
      ASSERT_EQ(end.status, 0) << end.output;
    }
  }

  const std::vector<Point> expected = curve_of(here.run("whole"));
  const std::vector<Point> curve = curve_of(here.run("run"));
  ASSERT_EQ(expected.size(), static_cast<std::size_t>(kSteps));
  ASSERT_EQ(curve.size(), expected.size());
  double worst = 0.0;
  std::printf("step  layout  loss          undisturbed        relative difference\n");
  for (std::size_t step = 0; step < curve.size(); ++step) {
    const double difference = std::abs(curve[step].loss - expected[step].loss) / expected[step].loss;
    std::printf("%4zu  %-6s  %.9f   %.9f        %.1e\n", step + 1, curve[step].layout.c_str(), curve[step].loss,
                expected[step].loss, difference);
    worst = std::max(worst, difference);
  }
  EXPECT_LT(worst, 1e-5);
  const Stage& end = stages.back();
  EXPECT_EQ(curve.back().layout, std::to_string(end.data) + "x" + std::to_string(end.tensor));
}

INSTANTIATE_TEST_SUITE_P(Over, Layouts,
                         testing::Values(std::vector<Stage>{{2, 2, 6}, {1, 1, 15}, {4, 1, 25}, {1, 4, 0}},
                                         std::vector<Stage>{
                                             {2, 1, 5}, {1, 4, 12}, {1, 2, 19}, {4, 1, 26}, {2, 1, 32}, {2, 2, 0}}),
                         [](const auto& stages) { return std::to_string(stages.param.size()) + "Stages"; });

}  // namespace
}  // namespace headroom::test
