// Runs with and without a GPU, real or emulated, plans, and the doctor, from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/data/support.h"
#include "tests/launch/program.h"
#include "tests/needs_gpu.h"

namespace headroom::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kNoLibrary = "HEADROOM_CUDA_LIBRARY=/nowhere/libheadroom_cuda.so ";

std::string source(const std::string& path) {
  return std::string(HEADROOM_SOURCE_DIR) + "/" + path;
}

Outcome without_gpu(const std::string& arguments) {
  return shell(kNoLibrary + std::string(HEADROOM_BINARY) + " " + arguments);
}

std::vector<double> losses_of(const Workspace& here, const std::string& name) {
  std::vector<double> losses;
  std::ifstream metrics(here.run(name) / "metrics.jsonl");
  for (std::string line; std::getline(metrics, line);) {
    if (line.starts_with("{\"step\"")) losses.push_back(std::stod(line.substr(line.find("\"loss\":") + 7)));
  }
  return losses;
}

TEST(Device, AGpuThatIsNotThereIsRefusedWithWhatWasSeen) {
  const Workspace here;
  const std::string config = here.config("run");
  const Outcome outcome = without_gpu("train " + config + " --set device=cuda");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("/nowhere/libheadroom_cuda.so"), HasSubstr("headroom doctor")));
  EXPECT_FALSE(std::filesystem::exists(here.run("run")));
}

TEST(Device, Bf16OnTheCpuIsRefused) {
  const Workspace here;
  const std::string config = here.config("run");
  const Outcome outcome = without_gpu("train " + config + " --set train.dtype=bf16");
  EXPECT_EQ(outcome.status, 3);
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("bf16"), HasSubstr("train.dtype = \"f32\"")));
}

TEST(Device, AutoTrainsOnTheCpuWhereThereIsNoGpu) {
  const Workspace here;
  const std::string config = here.config("run");
  const Outcome outcome = without_gpu("train " + config + " --set train.steps=2 --set device=auto");
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_EQ(steps_in(here.run("run")), 2);
}

// The same run on the CPU and on the GPU, alone and on four ranks.
TEST(Device, TrainsOnTheGpuAsOnTheCpu) {
  const Workspace here;
  const std::string config = here.config("run", "[model.attention]\nkv_bias = \"kv\"\n");
  const std::string steps = " --set train.steps=6 --set snapshot.every=3 --set name=";
  HEADROOM_NEEDS_GPU();
  const Outcome cpu = headroom("train " + config + steps + "cpu --set device=cpu");
  ASSERT_EQ(cpu.status, 0) << cpu.output;
  const Outcome gpu = headroom("train " + config + steps + "gpu --set device=cuda");
  ASSERT_EQ(gpu.status, 0) << gpu.output;
  const Outcome bf16 = headroom_ranks(
      4, "train " + config + steps + "bf16 --set device=cuda --set train.dtype=bf16 --set parallel.tensor=2");
  ASSERT_EQ(bf16.status, 0) << bf16.output;
  const std::vector<double> expected = losses_of(here, "cpu");
  ASSERT_EQ(expected.size(), 6u);
  const std::vector<double> same = losses_of(here, "gpu");
  const std::vector<double> near = losses_of(here, "bf16");
  ASSERT_EQ(same.size(), 6u);
  ASSERT_EQ(near.size(), 6u);
  for (std::size_t step = 0; step < 6; ++step) {
    EXPECT_NEAR(same[step], expected[step], 1e-3 * expected[step]) << step;
    EXPECT_NEAR(near[step], expected[step], 3e-2 * expected[step]) << step;
  }
  // A report over snapshots from the CPU and from a GPU in bf16.
  const Outcome report = headroom("analyze " + here.run("cpu").string() + " " + here.run("bf16").string() + " --out " +
                                  (here / "report").string());
  EXPECT_EQ(report.status, 0) << report.output;
}

TEST(Doctor, SaysWhatIsMissingAndWhatThatDisables) {
  const Outcome outcome = without_gpu("doctor");
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("oneDNN"), HasSubstr("HDF5"), HasSubstr("MPI"),
                                    HasSubstr("/nowhere/libheadroom_cuda.so"), HasSubstr("are refused")));
  EXPECT_NE(without_gpu("doctor --need-gpu").status, 0);
}

TEST(Plan, OfLlama1bOn64Gpus) {
  const Outcome outcome = without_gpu("plan " + source("configs/llama-1b/baseline.toml") + " --gpus 64");
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("1071712256"), HasSubstr("64 x 1"), HasSubstr("master weights"),
                                    HasSubstr("moments"), HasSubstr("not a measurement")));
}

TEST(Plan, RefusesWhatCannotFitAndSaysWhatWould) {
  const std::string config = "plan " + source("configs/llama-1b/baseline.toml");
  const Outcome outcome = without_gpu(config + " --gpus 64 --set train.micro_batch=63");
  EXPECT_EQ(outcome.status, 8);
  const std::size_t at = outcome.output.find("This would fit: ");
  ASSERT_NE(at, std::string::npos) << outcome.output;
  const std::string remedy = outcome.output.substr(at + 16, outcome.output.find('\n', at) - at - 16);
  EXPECT_EQ(without_gpu(config + " --gpus 64 " + remedy).status, 0) << remedy;
}

TEST(Plan, RefusesLayoutsThatAreNone) {
  const std::string config = "plan " + source("configs/llama-1b/baseline.toml");
  EXPECT_EQ(without_gpu(config + " --gpus 64 --layout 8x4").status, 2);
  EXPECT_EQ(without_gpu(config + " --layout 8by4").status, 2);
  EXPECT_EQ(without_gpu(config + " --gpus 5").status, 3) << "4032 sequences do not divide by 5";
  EXPECT_EQ(without_gpu(config + " --gpus 3 --layout 1x3").status, 3) << "16 heads do not divide by 3";
  EXPECT_EQ(without_gpu(config + " --gpus 8 --gpu abacus").status, 2);
}

}  // namespace
}  // namespace headroom::test
