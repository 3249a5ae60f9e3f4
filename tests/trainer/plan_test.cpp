// The plan of the published LLaMA-1B against arithmetic done by hand, and what a plan refuses.
#include "trainer/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "trainer/config_schema.h"

namespace headroom {
namespace {

RunConfig llama_1b() {
  return load_config(std::string(HEADROOM_SOURCE_DIR) + "/configs/llama-1b/baseline.toml", {});
}

std::size_t bytes_of(const TrainingPlan& plan, const std::string& category) {
  for (const Arena::Category& entry : plan.memory) {
    if (entry.name == category) return entry.bytes;
  }
  return 0;
}

// Embedding and head, and per layer q, k, v, o, gate, up, down and two norms; the final norm.
constexpr std::int64_t kLayer = 4 * 2048 * 2048 + 3 * 2048 * 5440 + 2 * 2048;
constexpr std::int64_t kParameters = 2 * 65536LL * 2048 + 16 * kLayer + 2048;

TEST(Plan, OfLlama1bOn64GpusAgreesWithArithmetic) {
  const TrainingPlan plan = plan_training(llama_1b(), {64, 1}, *find_gpu("h100-sxm"));
  EXPECT_EQ(plan.parameters, kParameters);
  // bf16 values, f32 gradients, and a 64th of the f32 master weights and two moments. The block is padded to whole
  // slots of 16 elements a data rank, for the split and the replicated parameters each.
  const auto padding = [](std::size_t bytes, std::int64_t size) {
    const auto exact = static_cast<std::size_t>(kParameters * size);
    return bytes >= exact && bytes - exact <= static_cast<std::size_t>(2 * 64 * 16 * size);
  };
  EXPECT_TRUE(padding(bytes_of(plan, "parameters"), 2)) << bytes_of(plan, "parameters");
  EXPECT_TRUE(padding(bytes_of(plan, "gradients"), 4)) << bytes_of(plan, "gradients");
  EXPECT_TRUE(padding(64 * bytes_of(plan, "moments"), 8)) << bytes_of(plan, "moments");
  EXPECT_TRUE(padding(64 * bytes_of(plan, "master weights"), 4)) << bytes_of(plan, "master weights");
  // 63/64 of the gradients in f32 and of the parameters in bf16.
  EXPECT_NEAR(plan.data_bytes, 63.0 / 64.0 * static_cast<double>(kParameters) * 6.0, 1e-3 * plan.data_bytes);
  EXPECT_EQ(plan.tensor_bytes, 0.0);
  EXPECT_TRUE(plan.fits());
}

TEST(Plan, TensorParallelismAndRecomputationTakeLess) {
  const GpuFigures& gpu = *find_gpu("h100-sxm");
  const TrainingPlan plain = plan_training(llama_1b(), {64, 1}, gpu);
  const TrainingPlan split = plan_training(llama_1b(), {32, 2}, gpu);
  EXPECT_LT(bytes_of(split, "parameters"), bytes_of(plain, "parameters") * 51 / 100);
  EXPECT_GT(split.tensor_bytes, 0.0);
  RunConfig config = llama_1b();
  double before = plain.memory_bytes;
  for (const Recompute level : {Recompute::norms, Recompute::attention, Recompute::block}) {
    config.train.recompute = level;
    const TrainingPlan plan = plan_training(config, {64, 1}, gpu);
    EXPECT_LT(plan.memory_bytes, before);
    before = plan.memory_bytes;
  }
  config.optim.moments = MomentFormat::bf16;
  const TrainingPlan narrow = plan_training(config, {64, 1}, gpu);
  EXPECT_NEAR(static_cast<double>(bytes_of(narrow, "moments")) / static_cast<double>(bytes_of(plain, "moments")), 0.5,
              1e-5);
}

TEST(Plan, SaysWhatDoesNotFit) {
  RunConfig config = llama_1b();
  config.train.micro_batch = 63;
  EXPECT_FALSE(plan_training(config, {64, 1}, *find_gpu("h100-sxm")).fits());
}

TEST(Plan, TimesAreTheSumOfTheirPartsAndAboveTheHardwaresLimit) {
  const TrainingPlan plan = plan_training(llama_1b(), {64, 1}, *find_gpu("h100-sxm"));
  const StepPrediction& step = plan.step;
  EXPECT_DOUBLE_EQ(step.seconds(),
                   step.products + step.passes + step.optimizer + step.tensor_traffic + step.data_exposed);
  EXPECT_LE(step.data_exposed, step.data_traffic);
  EXPECT_GT(plan.mfu, 0.3);
  EXPECT_LT(plan.mfu, kProductShare);
}

TEST(Gpus, AreFoundByKeyAndByTheDriversName) {
  EXPECT_EQ(find_gpu("h100-sxm"), find_gpu("NVIDIA H100 80GB HBM3, 79.2 GiB, compute 9.0"));
  EXPECT_EQ(find_gpu("GeForce 256"), nullptr);
}

}  // namespace
}  // namespace headroom
