// Saving and going on, on every rank: the same bits as without the interruption, and refusals that name the reason.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/model/tiny_model.h"
#include "tests/mpi_world.h"
#include "trainer/checkpoint.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;

RunConfig tiny_run() {
  RunConfig config;
  config.model = tiny::config();
  config.model.seq_len = 8;
  config.train.global_batch = 4;
  config.train.bucket_mb = 0.01;
  config.optim.tvr.enabled = true;
  config.optim.tvr.interval = 3;
  config.optim.tvr.target = 0.15;
  return config;
}

std::vector<Batch> batches_of(const RunConfig& config, std::int64_t step) {
  Batch batch = tiny::batch(config.train.micro_batch, config.model.seq_len, config.model.vocab_size);
  std::rotate(batch.ids.begin(), batch.ids.begin() + step, batch.ids.end());
  return {batch};
}

std::vector<double> train_steps(Engine& engine, const RunConfig& config, std::int64_t first, std::int64_t last) {
  std::vector<double> losses;
  for (std::int64_t step = first; step <= last; ++step) {
    losses.push_back(engine.step(step, 1e-2, batches_of(config, step), nullptr, [](std::size_t) {}).loss.nll);
  }
  return losses;
}

// A directory all ranks agree on, gone at the end of the test.
class SharedDirectory {
 public:
  explicit SharedDirectory(Communicator& world) : world_(&world) {
    std::string name = (fs::temp_directory_path() / "headroom-checkpoint-XXXXXX").string();
    if (world.rank() == 0) {
      EXPECT_NE(mkdtemp(name.data()), nullptr);
    }
    const auto bytes = world.broadcast_bytes(std::as_bytes(std::span<const char>(name.data(), name.size())), 0);
    path_ = std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  ~SharedDirectory() {
    world_->barrier();
    if (world_->rank() == 0) fs::remove_all(path_);
  }
  const fs::path& path() const { return path_; }

 private:
  Communicator* world_;
  fs::path path_;
};

class Checkpoint : public testing::Test {
 protected:
  Checkpoint()
      : ranks_(test_runtime().world()->size()),
        mesh_(test_runtime().world(), {ranks_ > 1 ? ranks_ / 2 : 1, ranks_ > 1 ? 2 : 1}),
        config_(resolved_for(tiny_run(), mesh_.layout(), 0)),
        directory_(mesh_.world()) {}

  std::string refusal(const CheckpointIdentity& identity) {
    Engine engine(config_, mesh_, Device::cpu);
    try {
      load_checkpoint(*latest_checkpoint(directory_.path()), identity, engine, mesh_);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_checkpoint);
      return error.what();
    }
    return "";
  }

  int ranks_;
  Mesh mesh_;
  RunConfig config_;
  SharedDirectory directory_;
  CheckpointIdentity identity_{"config", "corpus", "commit"};
};

TEST_F(Checkpoint, ResumesToTheSameBits) {
  Engine uninterrupted(config_, mesh_, Device::cpu);
  const std::vector<double> expected = train_steps(uninterrupted, config_, 1, 7);

  Engine first(config_, mesh_, Device::cpu);
  train_steps(first, config_, 1, 4);
  const CheckpointReceipt receipt = save_checkpoint(directory_.path(), {4, 128}, identity_, first, mesh_, 2);
  EXPECT_GT(receipt.bytes, 0);

  Engine second(config_, mesh_, Device::cpu);
  const auto newest = latest_checkpoint(directory_.path());
  ASSERT_TRUE(newest);
  const TrainingPosition position = load_checkpoint(*newest, identity_, second, mesh_);
  EXPECT_EQ(position.step, 4);
  EXPECT_EQ(position.tokens, 128);
  const std::vector<double> resumed = train_steps(second, config_, 5, 7);
  EXPECT_EQ(resumed, std::vector<double>(expected.begin() + 4, expected.end()));
  const auto want = uninterrupted.model().parameters().values().span<float>();
  const auto have = second.model().parameters().values().span<float>();
  EXPECT_TRUE(std::equal(want.begin(), want.end(), have.begin()));
}

TEST_F(Checkpoint, KeepsTheNewest) {
  Engine engine(config_, mesh_, Device::cpu);
  for (std::int64_t step = 1; step <= 4; ++step) {
    save_checkpoint(directory_.path(), {step, step}, identity_, engine, mesh_, 2);
  }
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory_.path())) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"step-00000003", "step-00000004"}));
}

TEST_F(Checkpoint, LogicalParametersAreThoseOfTheModel) {
  Engine engine(config_, mesh_, Device::cpu);
  save_checkpoint(directory_.path(), {1, 1}, identity_, engine, mesh_, 2);
  const Mesh alone = Mesh::single();
  Engine whole(resolved_for(tiny_run(), {1, 1}, 0), alone,
               Device::cpu);  // initialisation does not depend on the layout
  for (const LogicalTensor& tensor : read_parameters(*latest_checkpoint(directory_.path()))) {
    const Parameter& parameter = whole.model().parameters().find(tensor.name);
    const auto values = parameter.value.span<float>();
    EXPECT_TRUE(std::equal(values.begin(), values.end(), tensor.values.begin(), tensor.values.end())) << tensor.name;
  }
}

TEST_F(Checkpoint, RefusesAnotherConfigCorpusOrDamageByName) {
  Engine engine(config_, mesh_, Device::cpu);
  const fs::path path = save_checkpoint(directory_.path(), {1, 1}, identity_, engine, mesh_, 2).path;
  EXPECT_EQ(refusal(identity_), "");
  EXPECT_THAT(refusal({"other", "corpus", "commit"}),
              testing::HasSubstr("was made with config config, this run has other"));
  EXPECT_THAT(refusal({"config", "other", "commit"}),
              testing::HasSubstr("was made with corpus corpus, this run has other"));
  mesh_.world().barrier();
  if (mesh_.world().rank() == 0) fs::resize_file(path / "rank-00000.h5", 100);
  mesh_.world().barrier();
  EXPECT_THAT(refusal(identity_), testing::HasSubstr("rank-00000.h5: has 100 bytes, the manifest says"));
  mesh_.world().barrier();
  if (mesh_.world().rank() == 0) std::ofstream(path / "manifest.json") << "{";
  mesh_.world().barrier();
  EXPECT_THAT(refusal(identity_), testing::HasSubstr("manifest.json: is not a checkpoint's manifest"));
}

}  // namespace
}  // namespace headroom
