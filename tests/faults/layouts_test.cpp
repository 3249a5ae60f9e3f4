// One run over four layouts: killed at random moments and gone on with at another number of ranks each time, it has the
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
  int killed_after;  // steps; 0: never
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

TEST(Layouts, ARunThatChangesThemWithEveryKillHasTheSameLossCurve) {
  const Workspace here;
  Draw draw(0);
  const auto moment = [&](int from) { return from + static_cast<int>(draw.index(6)); };
  const Stage stages[] = {{2, 2, moment(6)}, {1, 1, moment(15)}, {4, 1, moment(25)}, {1, 4, 0}};
  const auto start = [&](const std::string& name, const Stage& stage, const std::string& more) {
    return "train " + here.config(name, kSettings) + " --set parallel.tensor=" + std::to_string(stage.tensor) + more;
  };
  const Outcome whole = Job(4, start("whole", stages[0], ""), here / "log").wait(kLongest);
  ASSERT_EQ(whole.status, 0) << whole.output;

  for (const Stage& stage : stages) {
    SCOPED_TRACE(std::to_string(stage.data) + "x" + std::to_string(stage.tensor));
    Job job(stage.data * stage.tensor, start("run", stage, &stage == stages ? "" : " --resume"), here / "log");
    if (stage.killed_after > 0) {
      ASSERT_TRUE(job.wait_until([&] { return steps_in(here.run("run")) >= stage.killed_after; }));
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
  std::printf("step  layout  loss          undisturbed (2x2)  relative difference\n");
  for (std::size_t step = 0; step < curve.size(); ++step) {
    const double difference = std::abs(curve[step].loss - expected[step].loss) / expected[step].loss;
    std::printf("%4zu  %-6s  %.9f   %.9f        %.1e\n", step + 1, curve[step].layout.c_str(), curve[step].loss,
                expected[step].loss, difference);
    worst = std::max(worst, difference);
  }
  EXPECT_LT(worst, 1e-5);
  EXPECT_EQ(curve.back().layout, "1x4");
}

}  // namespace
}  // namespace headroom::test
