// Checkpoints of every family against transformers, from tests/fixtures/hf (made by make_hf_fixtures.py in float64):
// what enters the first layer, what every layer puts out, what enters the head, and the logits.
#include "model/huggingface/source.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/hdf5.h"
#include "model/decoder/decoder.h"
#include "tests/distance.h"
#include "tests/scratch.h"
#include "tests/source_dir.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;

fs::path fixtures() {
  return fs::path(test::source_dir()) / "tests/fixtures/hf";
}

std::vector<std::string> checkpoints() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(fixtures())) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// A switch that is ignored moves every result by more than ten times this; GELU's two forms differ by 5e-5 or more.
constexpr double kTolerance = 1e-5;

class Checkpoint : public testing::TestWithParam<std::string> {};

void expect_results_of_transformers(const fs::path& directory) {
  const H5File reference = H5File::open(directory / "reference.h5");
  const auto ids = reference.read<std::int32_t>("ids");
  const auto hidden = reference.read<float>("hidden");
  const auto final_states = reference.read<float>("final");
  const auto logits = reference.read<float>("logits");
  const auto batch = static_cast<std::size_t>(ids.dims[0]);
  const auto length = static_cast<std::size_t>(ids.dims[1]);
  std::vector<decoder::Sequence> sequences;
  for (std::size_t i = 0; i < batch; ++i) {
    const auto* begin = ids.values.data() + i * length;
    sequences.emplace_back(begin, begin + length);
  }
  // Of another length, so that sequences in one group differ; it is no shorter than longrope's long ones.
  const std::size_t shorter = length / 2;
  sequences.emplace_back(sequences[0].begin(), sequences[0].begin() + static_cast<std::ptrdiff_t>(shorter));

  huggingface::Checkpoint checkpoint = huggingface::open_checkpoint(directory);
  decoder::Decoder model(checkpoint.config, std::move(checkpoint.weights));
  const decoder::Config& config = model.config();
  decoder::States states = model.embed(sequences);
  const std::size_t layer_size = batch * length * static_cast<std::size_t>(config.hidden_size);
  const auto expect_states = [&](std::int64_t layers, const char* what) {
    const float* expected = hidden.values.data() + static_cast<std::size_t>(layers) * layer_size;
    EXPECT_LT(test::relative_distance({states.all().data<float>(), layer_size}, {expected, layer_size}), kTolerance)
        << what << " " << layers - 1;
    const std::size_t short_size = shorter * static_cast<std::size_t>(config.hidden_size);
    EXPECT_LT(test::relative_distance({states.of(batch).data<float>(), short_size}, {expected, short_size}), kTolerance)
        << what << " " << layers - 1 << ", the shorter sequence";
  };
  expect_states(0, "embedding");
  for (std::int64_t layer = 0; layer < config.n_layers; ++layer) {
    model.apply(layer, states, nullptr);
    expect_states(layer + 1, "layer");
  }
  const decoder::States features = model.finish(states, nullptr);
  EXPECT_LT(test::relative_distance({features.all().data<float>(), final_states.values.size()}, final_states.values),
            kTolerance);
  std::vector<float> all(static_cast<std::size_t>(features.rows() * config.vocab_size));
  model.each_logits(features, [&](const decoder::Decoder::LogitsBlock& block) {
    for (std::int64_t row = 0; row < block.logits.rows(); ++row) {
      const float* from = block.logits.data<float>() + row * block.logits.columns();
      std::copy_n(from, block.logits.columns(),
                  all.data() + (block.first_row + row) * config.vocab_size + block.first_id);
    }
  });
  EXPECT_LT(test::relative_distance({all.data(), logits.values.size()}, logits.values), kTolerance);
}

TEST_P(Checkpoint, GivesTheResultsOfTransformers) {
  expect_results_of_transformers(fixtures() / GetParam());
}

INSTANTIATE_TEST_SUITE_P(OfEveryFamily, Checkpoint, testing::ValuesIn(checkpoints()),
                         [](const auto& instance) { return instance.param; });

// The same of checkpoints that the transformers of this machine makes now, which may be a newer one.
TEST(CheckpointMadeNow, GivesTheResultsOfTransformers) {
  const char* named = std::getenv("HEADROOM_PYTHON");
  const std::string python = named == nullptr ? "python3" : named;
  const auto run = [](const std::string& command) { return std::system(command.c_str()); };
  if (run(python + " -c 'import torch, transformers, h5py, safetensors' 2>/dev/null") != 0) {
    GTEST_SKIP() << "NOT MADE ANEW: " << python
                 << " has no torch, transformers, h5py and safetensors; HEADROOM_PYTHON names another";
  }
  const test::Scratch scratch;
  const std::string script = (fs::path(test::source_dir()) / "tests/fixtures/make_hf_fixtures.py").string();
  ASSERT_EQ(run("HF_HUB_OFFLINE=1 " + python + " " + script + " --out " + (scratch / "hf").string()), 0);
  for (const std::string& name : checkpoints()) {
    SCOPED_TRACE(name);
    expect_results_of_transformers(scratch / "hf" / name);
  }
}

}  // namespace
}  // namespace headroom
