// Training steps on the GPU, real or emulated, at every layout of the ranks: f32 as the CPU computes it, bf16 beside
// it, checkpoints that go on to the bit, and steps that must not be made.
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "tensor/backend.h"
#include "tensor/transfer.h"
#include "tests/mpi_world.h"
#include "tests/needs_gpu.h"
#include "tests/trainer/mpi/shared_directory.h"
#include "tests/trainer/mpi/step_batches.h"
#include "trainer/checkpoint_reader.h"
#include "trainer/checkpoint_writer.h"
#include "trainer/engine.h"

namespace headroom {
namespace {

RunConfig run_config(DType dtype) {
  RunConfig config;
  config.model = tiny::config();
  config.model.hidden_size = 24;
  config.model.seq_len = 8;
  config.model.attention.kv_bias = KvBiasKind::kv;
  config.train.dtype = dtype;
  config.train.global_batch = 4;
  config.train.micro_batch = 1;
  config.train.bucket_mb = 0.01;
  config.optim.clip = 0.5;
  config.optim.tvr.enabled = true;
  config.optim.tvr.interval = 2;
  config.optim.tvr.target = 0.15;
  config.optim.tvr.threshold = 1.05;
  return config;
}

std::vector<double> train(Engine& engine, const RunConfig& config, const Mesh& mesh, std::int64_t first,
                          std::int64_t last) {
  std::vector<double> losses;
  for (std::int64_t step = first; step <= last; ++step) {
    const auto outcome = engine.step(step, 1e-2, batches_of_step(config, mesh, step), nullptr, [](std::size_t) {});
    losses.push_back(outcome.loss.mean());
    losses.push_back(outcome.grad_norm);
  }
  return losses;
}

std::vector<std::vector<double>> parameters_of(Engine& engine) {
  std::vector<std::vector<double>> all;
  for (const Parameter& parameter : engine.model().parameters().all()) {
    all.push_back(download_as<double>(parameter.value));
  }
  return all;
}

class GpuEngine : public testing::Test {
 protected:
  void SetUp() override { HEADROOM_NEEDS_GPU(); }
  static std::vector<Layout> layouts() {
    const int ranks = test_runtime().size();
    std::vector<Layout> all;
    for (int tensor = 1; tensor <= ranks; tensor *= 2) all.push_back({ranks / tensor, tensor});
    return all;
  }
  static Mesh mesh_of(const Layout& layout) { return Mesh(test_runtime().world(), layout, Device::cuda); }
};

TEST_F(GpuEngine, EveryLayoutTrainsAsTheCpuDoesInF64) {
  const Mesh alone = Mesh::single();
  const RunConfig exact = resolved_for(run_config(DType::f64), {1, 1}, 0);
  Engine reference(exact, alone, Device::cpu);
  const std::vector<double> expected = train(reference, exact, alone, 1, 6);
  for (const Layout& layout : layouts()) {
    const Mesh mesh = mesh_of(layout);
    for (const DType dtype : {DType::f32, DType::bf16}) {
      SCOPED_TRACE(fmt::format("{}x{} {}", layout.data, layout.tensor, name_of(dtype)));
      const RunConfig config = resolved_for(run_config(dtype), layout, 0);
      Engine engine(config, mesh, Device::cuda);
      const std::vector<double> losses = train(engine, config, mesh, 1, 6);
      for (std::size_t i = 0; i < expected.size(); ++i) {
        EXPECT_NEAR(losses[i], expected[i], (dtype == DType::bf16 ? 2e-2 : 5e-5) * expected[i]) << i;
      }
    }
  }
}

TEST_F(GpuEngine, RepeatsItselfToTheBit) {
  for (const Layout& layout : layouts()) {
    const Mesh mesh = mesh_of(layout);
    const RunConfig config = resolved_for(run_config(DType::bf16), layout, 0);
    Engine first(config, mesh, Device::cuda);
    const std::vector<double> losses = train(first, config, mesh, 1, 3);
    Engine second(config, mesh, Device::cuda);
    EXPECT_EQ(train(second, config, mesh, 1, 3), losses);
    EXPECT_EQ(parameters_of(second), parameters_of(first));
  }
}

// However many micro-batches a step has, the host waits for the GPU when it is over and never before. (Where tensors go
// through host memory, every exchange waits.)
TEST_F(GpuEngine, TheHostWaitsOnlyWhenTheStepIsOver) {
  const Mesh alone = Mesh::single();
  for (const std::int64_t micro_batch : {1, 2, 4}) {
    RunConfig config = run_config(DType::bf16);
    config.train.micro_batch = micro_batch;
    config = resolved_for(config, {1, 1}, 0);
    Engine engine(config, alone, Device::cuda);
    const std::vector<Batch> batches = batches_of_step(config, alone);
    const std::int64_t before = backend(Device::cuda).waits();
    engine.step(1, 1e-2, batches, nullptr, [&](std::size_t index) {
      EXPECT_EQ(backend(Device::cuda).waits(), before) << "micro-batch " << index;
    });
    // The sums, and the bias slot's mass: one after another, at the end.
    EXPECT_EQ(backend(Device::cuda).waits() - before, 2);
  }
}

// bf16 rounds small updates away; the masters must not lose them.
TEST_F(GpuEngine, MasterWeightsKeepWhatBf16Forgets) {
  const Mesh mesh = mesh_of({test_runtime().size(), 1});
  RunConfig config = run_config(DType::bf16);
  config.optim.tvr.enabled = false;
  config.optim.weight_decay = 0.0;
  config = resolved_for(config, mesh.layout(), 0);
  Engine engine(config, mesh, Device::cuda);
  const auto values = [&] { return download_as<double>(engine.model().parameters().values()); };
  const auto master = [&] { return download_as<double>(engine.optimizer().master()); };
  const auto changed = [](const std::vector<double>& before, const std::vector<double>& after) {
    double count = 0.0;
    for (std::size_t i = 0; i < before.size(); ++i) count += before[i] != after[i] ? 1.0 : 0.0;
    return count / static_cast<double>(before.size());
  };
  const std::vector<double> values_before = values();
  const std::vector<double> master_before = master();
  engine.step(1, 1e-7, batches_of_step(config, mesh, 1), nullptr, [](std::size_t) {});
  EXPECT_LT(changed(values_before, values()), 0.01) << "but for the few at a rounding's edge";
  EXPECT_GT(changed(master_before, master()), 0.5);
}

TEST_F(GpuEngine, GoesOnFromACheckpointToTheBit) {
  for (const MomentFormat moments : {MomentFormat::wide, MomentFormat::bf16}) {
    const Mesh mesh = mesh_of(layouts().back());
    RunConfig config = run_config(DType::bf16);
    config.optim.moments = moments;
    config = resolved_for(config, mesh.layout(), 0);
    const SharedDirectory directory(mesh.world());
    Engine uninterrupted(config, mesh, Device::cuda);
    const std::vector<double> expected = train(uninterrupted, config, mesh, 1, 5);

    Engine first(config, mesh, Device::cuda);
    train(first, config, mesh, 1, 3);
    CheckpointWriter writer(CheckpointDirectory(directory.path()), first, mesh, {});
    writer.begin({.step = 3, .config_toml = "name = \"gpu\"\n"});
    const std::filesystem::path checkpoint = writer.finish().path;
    Engine second(config, mesh, Device::cuda);
    load_tensors(checkpoint, verify_checkpoint(checkpoint, mesh.world()).manifest, second, mesh);
    const std::vector<double> resumed = train(second, config, mesh, 4, 5);
    EXPECT_EQ(resumed, std::vector<double>(expected.begin() + 6, expected.end()));
    EXPECT_EQ(parameters_of(second), parameters_of(uninterrupted));
  }
}

TEST_F(GpuEngine, AStepThatIsNotFiniteChangesNothing) {
  const Mesh mesh = mesh_of({test_runtime().size(), 1});
  const RunConfig config = resolved_for(run_config(DType::bf16), mesh.layout(), 0);
  Engine engine(config, mesh, Device::cuda);
  const Parameter& norm = engine.model().parameters().find("final_norm.weight");
  std::vector<double> values = download_as<double>(norm.value);
  values[3] = std::numeric_limits<double>::quiet_NaN();
  upload_as(std::span<const double>(values), norm.value);
  const std::vector<double> master = download_as<double>(engine.optimizer().master());
  const std::vector<double> moments = download_as<double>(engine.optimizer().first_moment());
  EXPECT_FALSE(engine.step(2, 1e-2, batches_of_step(config, mesh, 2), nullptr, [](std::size_t) {}).made);
  EXPECT_EQ(download_as<double>(engine.optimizer().master()), master);
  EXPECT_EQ(download_as<double>(engine.optimizer().first_moment()), moments);
}

}  // namespace
}  // namespace headroom
