// Saving and going on: the same bits at the same layout, the same tensors at every other, and damage found by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/mpi_world.h"
#include "tests/scratch.h"
#include "tests/trainer/mpi/shared_directory.h"
#include "tests/trainer/mpi/step_batches.h"
#include "trainer/checkpoint_reader.h"
#include "trainer/checkpoint_writer.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

RunConfig tiny_run(DType dtype = DType::f32) {
  RunConfig config;
  config.model = tiny::config();
  config.model.attention.kv_bias = KvBiasKind::kv;
  config.model.seq_len = 8;
  config.train.dtype = dtype;
  config.train.global_batch = 4;
  config.train.bucket_mb = 0.01;  // many buckets: a tensor's pieces lie in several
  config.optim.tvr.enabled = true;
  config.optim.tvr.interval = 3;
  config.optim.tvr.target = 0.15;
  return config;
}

constexpr const char* kConfig = "name = \"tiny\"\n";
const CheckpointIdentity kIdentity{"config", "train", "valid", "tokenizer", "commit"};

// A rank's engine at a layout.
struct Trainer {
  Trainer(const Mesh& on, const RunConfig& run)
      : mesh(&on), config(resolved_for(run, on.layout(), 0)), engine(config, on, Device::cpu) {}

  std::vector<double> train(std::int64_t first, std::int64_t last) {
    std::vector<double> losses;
    for (std::int64_t step = first; step <= last; ++step) {
      losses.push_back(
          engine.step(step, 1e-2, batches_of_step(config, *mesh, step), nullptr, [](std::size_t) {}).loss.nll);
    }
    return losses;
  }

  CheckpointReceipt save(const fs::path& directory, std::int64_t step, Retention retention = {}) {
    fs::create_directories(directory);
    CheckpointWriter writer(CheckpointDirectory(directory), engine, *mesh, retention);
    writer.begin({.step = step,
                  .tokens = 32 * step,
                  .identity = kIdentity,
                  .state = {{"samples", 4 * step}},
                  .config_toml = kConfig});
    return writer.finish();
  }

  Manifest load(const fs::path& checkpoint) {
    const VerifiedCheckpoint verified = verify_checkpoint(checkpoint, mesh->world());
    EXPECT_EQ(verified.damage, "");
    load_tensors(checkpoint, verified.manifest, engine, *mesh);
    return verified.manifest;
  }

  const Mesh* mesh;
  RunConfig config;
  Engine engine;
};

// Weights and both moments of a checkpoint, whole.
std::vector<std::vector<double>> tensors_in(const fs::path& checkpoint) {
  const Manifest manifest = read_manifest(checkpoint);
  EXPECT_THAT(manifest.kinds, ElementsAre("weights", "first_moment", "second_moment"));
  std::vector<std::vector<double>> all;
  for (const std::string& kind : manifest.kinds) {
    for (LogicalTensor& tensor : read_tensors(checkpoint, manifest, kind)) all.push_back(std::move(tensor.values));
  }
  return all;
}

std::vector<Layout> layouts_of(int ranks) {
  if (ranks == 4) return {{4, 1}, {2, 2}, {1, 4}};
  if (ranks == 2) return {{2, 1}, {1, 2}};
  return {{1, 1}};
}

class Checkpoint : public testing::Test {
 protected:
  Checkpoint() : ranks_(test_runtime().world()->size()), mesh_(test_runtime().world(), layouts_of(ranks_).front()) {}

  // Does something to the files on one rank, between the others' turns.
  void on_disk(const std::function<void()>& change) {
    mesh_.world().barrier();
    if (mesh_.world().rank() == 0) change();
    mesh_.world().barrier();
  }

  int ranks_;
  Mesh mesh_;
  SharedDirectory directory_{mesh_.world()};
};

TEST_F(Checkpoint, ResumesToTheSameBitsAtEveryLayout) {
  for (const Layout& layout : layouts_of(ranks_)) {
    SCOPED_TRACE(fmt::format("{}x{}", layout.data, layout.tensor));
    const Mesh mesh(test_runtime().world(), layout);
    Trainer uninterrupted(mesh, tiny_run());
    const std::vector<double> expected = uninterrupted.train(1, 7);

    Trainer first(mesh, tiny_run());
    first.train(1, 4);
    const CheckpointReceipt receipt = first.save(directory_.path(), 4);
    EXPECT_GT(receipt.bytes, 3 * 4 * first.engine.model().parameters().logical_elements());

    Trainer second(mesh, tiny_run());
    const Manifest manifest = second.load(receipt.path);
    EXPECT_EQ(manifest.step, 4);
    EXPECT_EQ(manifest.tokens, 128);
    EXPECT_EQ(manifest.state.at("samples"), 16);
    EXPECT_EQ(second.train(5, 7), std::vector<double>(expected.begin() + 4, expected.end()));
    const auto want = uninterrupted.engine.model().parameters().values().span<float>();
    const auto have = second.engine.model().parameters().values().span<float>();
    EXPECT_TRUE(std::equal(want.begin(), want.end(), have.begin()));
  }
}

// Written at A, loaded and written again at B, and back at A: all tensors of all three are the same.
TEST_F(Checkpoint, LoadsAtEveryLayoutWhatAnyOtherWrote) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const Layout& from : layouts_of(ranks_)) {
      const Mesh there(test_runtime().world(), from);
      Trainer writer(there, tiny_run(dtype));
      writer.train(1, 3);
      const fs::path original = writer.save(directory_.path() / "from", 3).path;
      const std::vector<std::vector<double>> expected = tensors_in(original);
      for (const Layout& to : layouts_of(ranks_)) {
        SCOPED_TRACE(fmt::format("{} from {}x{} to {}x{}", name_of(dtype), from.data, from.tensor, to.data, to.tensor));
        const Mesh here(test_runtime().world(), to);
        Trainer reader(here, tiny_run(dtype));
        reader.load(original);
        const fs::path again = reader.save(directory_.path() / "to", 3).path;
        EXPECT_EQ(tensors_in(again), expected);
        Trainer back(there, tiny_run(dtype));
        back.load(again);
        EXPECT_EQ(tensors_in(back.save(directory_.path() / "back", 3).path), expected);
      }
    }
  }
}

// One rank and many, in both directions; the losses that follow agree to rounding.
TEST_F(Checkpoint, OneRankLoadsWhatManyWroteAndTheOtherWayRound) {
  const Mesh alone = Mesh::single();
  for (const Layout& layout : layouts_of(ranks_)) {
    SCOPED_TRACE(fmt::format("{}x{}", layout.data, layout.tensor));
    const Mesh mesh(test_runtime().world(), layout);
    Trainer many(mesh, tiny_run(DType::f64));
    many.train(1, 4);
    const fs::path by_many = many.save(directory_.path() / "many", 4).path;
    const std::vector<double> expected = many.train(5, 8);

    Trainer one(alone, tiny_run(DType::f64));
    one.load(by_many);
    const fs::path own = directory_.path() / fmt::format("one-{}", mesh_.world().rank());
    const fs::path by_one = one.save(own, 4).path;
    EXPECT_EQ(tensors_in(by_one), tensors_in(by_many));
    const std::vector<double> losses = one.train(5, 8);
    for (std::size_t step = 0; step < losses.size(); ++step) EXPECT_NEAR(losses[step] / expected[step], 1.0, 1e-12);

    mesh_.world().barrier();
    Trainer again(mesh, tiny_run(DType::f64));
    again.load(directory_.path() / "one-0/step-00000004");
    EXPECT_EQ(again.train(5, 8), expected);
  }
}

TEST_F(Checkpoint, LogicalTensorsAreThoseOfTheModel) {
  Trainer many(mesh_, tiny_run());
  const fs::path path = many.save(directory_.path(), 1).path;
  const Mesh alone = Mesh::single();
  Trainer whole(alone, tiny_run());  // initialisation does not depend on the layout
  const std::vector<LogicalTensor> tensors = read_tensors(path, read_manifest(path), "weights");
  EXPECT_EQ(tensors.size(), whole.engine.model().parameters().all().size());
  for (const LogicalTensor& tensor : tensors) {
    const auto values = whole.engine.model().parameters().find(tensor.name).value.span<float>();
    EXPECT_TRUE(std::equal(values.begin(), values.end(), tensor.values.begin(), tensor.values.end())) << tensor.name;
  }
}

// What was copied is what is saved, whatever training does meanwhile.
TEST_F(Checkpoint, TrainingGoesOnWhileItIsWritten) {
  Trainer trainer(mesh_, tiny_run());
  trainer.train(1, 2);
  const std::vector<std::vector<double>> expected = tensors_in(trainer.save(directory_.path() / "quiet", 2).path);
  fs::create_directories(directory_.path() / "busy");
  CheckpointWriter writer(CheckpointDirectory(directory_.path() / "busy"), trainer.engine, mesh_, {});
  writer.begin({.step = 2, .identity = kIdentity, .config_toml = kConfig});
  trainer.train(3, 5);
  EXPECT_TRUE(writer.busy());
  EXPECT_EQ(tensors_in(writer.finish().path), expected);
  EXPECT_FALSE(writer.busy());
}

TEST_F(Checkpoint, KeepsTheNewestAndEveryThird) {
  Trainer trainer(mesh_, tiny_run());
  for (std::int64_t step = 1; step <= 8; ++step) trainer.save(directory_.path(), step, {.newest = 2, .every = 3});
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory_.path())) names.push_back(entry.path().filename());
  EXPECT_THAT(names, testing::UnorderedElementsAre("step-00000003", "step-00000006", "step-00000007", "step-00000008",
                                                   "latest"));
  EXPECT_EQ(fs::read_symlink(directory_.path() / "latest"), "step-00000008");
}

TEST_F(Checkpoint, ADirectoryThatVanishedFailsOnEveryRankAndTheNextTrySucceeds) {
  Trainer trainer(mesh_, tiny_run());
  const fs::path good = trainer.save(directory_.path() / "checkpoints", 1).path;
  on_disk([&] { fs::rename(directory_.path() / "checkpoints", directory_.path() / "away"); });
  CheckpointWriter writer(CheckpointDirectory(directory_.path() / "checkpoints"), trainer.engine, mesh_, {});
  try {
    writer.begin({.step = 2, .identity = kIdentity, .config_toml = kConfig});
    ADD_FAILURE() << "a checkpoint was begun in a directory that is not there";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::disk_full);
  }
  EXPECT_FALSE(writer.busy());
  EXPECT_FALSE(fs::exists(directory_.path() / "checkpoints"));
  on_disk([&] { fs::rename(directory_.path() / "away", directory_.path() / "checkpoints"); });
  EXPECT_EQ(tensors_in(good), tensors_in(trainer.save(directory_.path() / "checkpoints", 2).path));
}

// The directory goes away while the ranks write: whatever they are at, all of them fail alike.
TEST_F(Checkpoint, ADirectoryThatVanishesMeanwhileLeavesTheOldCheckpointAndNothingElse) {
  Trainer trainer(mesh_, tiny_run());
  const fs::path checkpoints = directory_.path() / "checkpoints";
  trainer.save(checkpoints, 1);
  CheckpointWriter writer(CheckpointDirectory(checkpoints), trainer.engine, mesh_, {});
  writer.begin({.step = 2, .identity = kIdentity, .config_toml = kConfig});
  on_disk([&] {
    fs::rename(checkpoints, directory_.path() / "away");
    fs::remove_all(directory_.path() / "away/step-00000002.partial");
  });
  try {
    writer.finish();
    ADD_FAILURE() << "a checkpoint was made of nothing";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::disk_full) << error.what();
  }
  EXPECT_FALSE(writer.busy());
  on_disk([&] { fs::rename(directory_.path() / "away", checkpoints); });
  EXPECT_EQ(CheckpointDirectory(checkpoints).all().size(), 1U);
  EXPECT_EQ(verify_checkpoint(checkpoints / "step-00000001", mesh_.world()).damage, "");
  trainer.save(checkpoints, 2);
}

TEST_F(Checkpoint, SaysInWhatItBelongsToAnother) {
  Trainer trainer(mesh_, tiny_run());
  const fs::path path = trainer.save(directory_.path(), 1).path;
  const Manifest manifest = read_manifest(path);
  EXPECT_THAT(mismatches(manifest, kIdentity), ElementsAre());
  EXPECT_THAT(mismatches(manifest, {"config", "other", "valid", "else", "newer"}),
              ElementsAre("it was made with training corpus train, this run has other",
                          "it was made with tokenizer tokenizer, this run has else"));
}

TEST_F(Checkpoint, AnotherModelIsRefusedByTensor) {
  Trainer trainer(mesh_, tiny_run());
  const fs::path path = trainer.save(directory_.path(), 1).path;
  const auto refusal = [&](const RunConfig& other) -> std::string {
    Trainer reader(mesh_, other);
    try {
      reader.load(path);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_checkpoint);
      return error.what();
    }
    return "loaded";
  };
  RunConfig wider = tiny_run();
  wider.model.ffn_size = 32;
  EXPECT_THAT(refusal(wider), AllOf(HasSubstr("shape [28, 20], the model's has [32, 20]")));
  RunConfig deeper = tiny_run();
  deeper.model.n_layers = 3;
  EXPECT_THAT(refusal(deeper), HasSubstr("has no tensor layers.2."));
  RunConfig shallower = tiny_run();
  shallower.model.n_layers = 1;
  EXPECT_THAT(refusal(shallower), HasSubstr("tensors, the model"));
}

TEST_F(Checkpoint, DamageIsFoundByFileAndTensor) {
  Trainer trainer(mesh_, tiny_run());
  const fs::path path = trainer.save(directory_.path(), 1).path;
  const Manifest manifest = read_manifest(path);
  const auto flip = [](const fs::path& file, std::int64_t place) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(place);
    const auto byte = static_cast<char>(stream.get() ^ 4);
    stream.seekp(place);
    stream.put(byte);
  };
  const auto refusal = [&] { return verify_checkpoint(path, mesh_.world()).damage; };
  const auto damaged = [&](const fs::path& file, std::int64_t place) {
    on_disk([&] { flip(file, place); });
    const std::string found = refusal();
    on_disk([&] { flip(file, place); });
    return found;
  };
  EXPECT_EQ(refusal(), "");
  // A bit of every tensor in every rank's file, and one of the file's own structure.
  for (const Manifest::File& file : manifest.files) {
    for (const Manifest::Stretch& stretch : file.stretches) {
      EXPECT_THAT(damaged(path / file.name, stretch.begin + stretch.bytes - 1),
                  HasSubstr(fmt::format("{} is damaged in {}", file.name, stretch.dataset)));
    }
    EXPECT_THAT(damaged(path / file.name, 9), HasSubstr(file.name + " is damaged outside its tensors"));
  }
  const auto manifest_bytes = static_cast<std::int64_t>(fs::file_size(path / "manifest.json"));
  for (std::int64_t place = 0; place < manifest_bytes; place += 1 + manifest_bytes / 97) {
    EXPECT_THAT(damaged(path / "manifest.json", place), HasSubstr("manifest.json: ")) << place;
  }
  on_disk([&] { fs::resize_file(path / "rank-00000.h5", 100); });
  EXPECT_THAT(refusal(), HasSubstr("rank-00000.h5 has 100 bytes, the manifest says"));
  on_disk([&] { fs::remove(path / "rank-00000.h5"); });
  EXPECT_THAT(refusal(), HasSubstr("rank-00000.h5 is missing"));
  on_disk([&] { fs::remove(path / "manifest.json"); });
  EXPECT_THAT(refusal(), HasSubstr("manifest.json"));
}

}  // namespace
}  // namespace headroom
