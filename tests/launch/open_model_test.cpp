// Where a MODEL may lie: a checkpoint taken out of its run, a run that was started in another directory, and files that
// are not what was written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/hdf5.h"
#include "tests/launch/program.h"
#include "tests/source_dir.h"

namespace headroom::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class OpenModel : public testing::Test {
 protected:
  // Three layers, some steps. `settings` as --set has them; started in the workspace's directory.
  void train(const std::string& settings) const {
    const std::string config = here_.config("run", "train.steps = 2\nsnapshot.every = 0\n");
    const Outcome trained =
        shell("cd " + (here_ / "").string() + " && " + HEADROOM_BINARY + " train " + config + " " + settings);
    ASSERT_EQ(trained.status, 0) << trained.output;
  }
  fs::path checkpoint() const { return here_.run("run") / "checkpoints/step-00000002"; }
  static Outcome elsewhere(const std::string& arguments) {
    return shell("cd / && " + std::string(HEADROOM_BINARY) + " " + arguments);
  }
  Outcome generate(const fs::path& model) const {
    return elsewhere("generate " + model.string() + " --prompt 'the old' --max-tokens 3");
  }
  Outcome convert(const std::string& options = "") const {
    fs::remove_all(here_ / "hf");
    return elsewhere("convert " + here_.run("run").string() + " --to hf " + (here_ / "hf").string() + " " + options);
  }
  Outcome forward(const fs::path& model, const std::string& ids = "1 2 3") const {
    return headroom("forward " + model.string() + " --ids " + here_.file("ids.txt", ids + "\n").string() + " --out " +
                    (here_ / "forward.h5").string());
  }
  std::vector<float> logits(const fs::path& model) const {
    fs::remove(here_ / "forward.h5");
    const Outcome ran = forward(model);
    EXPECT_EQ(ran.status, 0) << ran.output;
    return H5File::open(here_ / "forward.h5").read<float>("sequences/0/logits").values;
  }

  Workspace here_;
};

TEST_F(OpenModel, ACheckpointNeedsNoRunAroundIt) {
  train("");
  fs::create_directories(here_ / "moved/away");
  fs::copy(checkpoint(), here_ / "moved/away/checkpoint",
           fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  EXPECT_EQ(logits(here_ / "moved/away/checkpoint"), logits(here_.run("run")));
}

TEST_F(OpenModel, ATokenizerNamedFromWhereTheRunStartedIsFoundFromElsewhere) {
  for (const std::string& runs : {std::string("runs"), (here_ / "runs").string()}) {
    fs::remove_all(here_.run("run"));
    train("--set data.corpus=corpus --set runs_dir=" + runs);
    const Outcome ran = generate(here_.run("run"));
    EXPECT_EQ(ran.status, 0) << runs << ran.output;
    EXPECT_EQ(convert().status, 0);
    EXPECT_TRUE(fs::exists(here_ / "hf/tokenizer.model"));
  }
}

TEST_F(OpenModel, IsNotConvertedWithoutItsTokenizerUnlessAskedTo) {
  train("");
  fs::rename(here_ / "corpus", here_ / "gone");
  const Outcome refused = convert();
  EXPECT_EQ(refused.status, 2) << refused.output;
  EXPECT_THAT(refused.output, AllOf(HasSubstr("is not where its config.toml says"), HasSubstr("--no-tokenizer")));
  EXPECT_FALSE(fs::exists(here_ / "hf"));
  EXPECT_EQ(convert("--tokenizer " + (here_ / "gone").string()).status, 0);
  const Outcome without = convert("--no-tokenizer");
  EXPECT_EQ(without.status, 0) << without.output;
  EXPECT_THAT(without.output, Not(HasSubstr("warning")));
  EXPECT_FALSE(fs::exists(here_ / "hf/tokenizer.model"));
}

// One bit of one weight: a number like others.
TEST_F(OpenModel, ADamagedTensorIsNamed) {
  train("");
  const std::string tensor = "weights/layers.1.mlp.up.weight";
  const auto manifest = nlohmann::json::parse(content_of(checkpoint() / "manifest.json"));
  const fs::path file = checkpoint() / "rank-00000.h5";
  std::string bytes = content_of(file);
  for (const auto& stretch : manifest["files"][0]["stretches"]) {
    if (stretch[0] == tensor) bytes[stretch[1].get<std::size_t>() + 1] ^= 1;
  }
  ASSERT_NE(bytes, content_of(file));
  std::ofstream(file, std::ios::binary) << bytes;
  for (const Outcome& ran : {forward(here_.run("run")), generate(here_.run("run")), convert()}) {
    EXPECT_EQ(ran.status, 5) << ran.output;
    EXPECT_THAT(ran.output, HasSubstr("rank-00000.h5 is damaged in " + tensor));
  }
  EXPECT_FALSE(fs::exists(here_ / "hf"));
}

TEST_F(OpenModel, IsWarnedOfBeyondItsContext) {
  train("");
  EXPECT_THAT(forward(here_.run("run")).output, Not(HasSubstr("warning")));
  const Outcome longer = forward(here_.run("run"), "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17");
  EXPECT_EQ(longer.status, 0) << longer.output;
  EXPECT_THAT(longer.output, HasSubstr("warning: a sequence of 17 tokens; the model was made for 16"));
}

TEST_F(OpenModel, WhatIsNoModelIsToldFromWhatIsNoneYet) {
  const Outcome file = forward(here_.file("weights.safetensors", "x"));
  EXPECT_EQ(file.status, 2);
  EXPECT_THAT(file.output, HasSubstr("weights.safetensors' is a file"));
  fs::create_directories(here_ / "begun");
  here_.file("begun/config.toml", "name = 'begun'\n");
  EXPECT_THAT(forward(here_ / "begun").output, HasSubstr("has no checkpoint yet"));
  fs::create_directories(here_ / "empty");
  EXPECT_THAT(forward(here_ / "empty").output, HasSubstr("is no model"));
}

TEST_F(OpenModel, AModelInHuggingFacesCacheIsCalledByItsName) {
  const fs::path snapshot = here_ / "hub/models--somebody--tiny-llama/snapshots/0a1b2c";
  fs::create_directories(snapshot.parent_path());
  fs::copy(fs::path(source_dir()) / "tests/fixtures/hf/llama_2", snapshot);
  const fs::path ids = here_.file("ids.txt", "1 2\n");
  ASSERT_EQ(
      headroom("forward " + snapshot.string() + " --ids " + ids.string() + " --out " + (here_ / "named.h5").string())
          .status,
      0);
  EXPECT_EQ(H5File::open(here_ / "named.h5").text_attribute("/", "model"), "tiny-llama");
}

}  // namespace
}  // namespace headroom::test
