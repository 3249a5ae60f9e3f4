// `headroom convert --to headroom`: models from elsewhere as runs that are trained on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "base/hdf5.h"
#include "model/huggingface/source.h"
#include "tests/distance.h"
#include "tests/launch/program.h"
#include "tests/source_dir.h"

namespace headroom::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

class Import : public testing::Test {
 protected:
  Workspace here_;
};

// What keeps a fixture's family from being trained; null: nothing does.
const char* lacking(const std::string& fixture) {
  static const std::map<std::string, const char*> kLacking = {
      {"falcon_7b", "side by side"},
      {"falcon_11b", "side by side"},
      {"falcon_40b", "side by side"},
      {"falcon_bias", "side by side"},
      {"gemma_2b", "a fixed multiplier of the embedding"},
      {"gemma_odd", "a fixed multiplier of the embedding"},
      {"gemma2_2b", "a fixed multiplier of the embedding"},
      {"gemma2_odd", "a fixed multiplier of the embedding"},
      {"gemma3_1b", "a fixed multiplier of the embedding"},
      {"gemma3_4b", "a fixed multiplier of the embedding"},
      {"gemma3_odd", "a fixed multiplier of the embedding"},
      {"gemma3_seeing", "a fixed multiplier of the embedding"},
      {"gemma3_seeing_odd", "a fixed multiplier of the embedding"},
      {"gpt2_layer_scale", "a scale of attention's scores"},
      {"gpt2_unscaled", "a scale of attention's scores"},
      {"llama_3_2", "scaled rotary angles"},
      {"llama_linear", "scaled rotary angles"},
      {"olmo_1b", "norms without weights"},
      {"olmo_7b", "norms without weights"},
      {"olmo2_7b", "norms behind"},
      {"olmo2_odd", "norms behind"},
      {"opt_350m", "projections around the embedding"},
      {"opt_bare", "norms without weights"},
      {"phi_2", "side by side"},
      {"phi_odd", "side by side"},
      {"phi_qk_norm", "side by side"},
      {"phi3_longrope", "scaled rotary angles"},
      {"phi3_longrope_within", "scaled rotary angles"},
      {"phi3_partial", "a part is rotated"}};
  const auto found = kLacking.find(fixture);
  return found == kLacking.end() ? nullptr : found->second;
}

bool has_windows(const fs::path& model) {
  const decoder::Config config = huggingface::read_config(model);
  return std::any_of(config.layers.begin(), config.layers.end(),
                     [](const decoder::LayerKind& layer) { return layer.window > 0; });
}

TEST_F(Import, EveryFamilyBecomesARunOrIsRefusedByName) {
  const fs::path ids = here_.file("ids.txt", "1 40 7\n1 5\n");  // no longer than any window, which becomes the context
  int became = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(source_dir()) / "tests/fixtures/hf")) {
    if (!entry.is_directory()) continue;
    const std::string name = entry.path().filename().string();
    SCOPED_TRACE(name);
    const Outcome converted =
        headroom("convert " + entry.path().string() + " --to headroom " + here_.run(name).string());
    if (const char* const what = lacking(name)) {
      EXPECT_EQ(converted.status, 5) << converted.output;
      EXPECT_THAT(converted.output, AllOf(HasSubstr(what), HasSubstr("which ours have not")));
      EXPECT_FALSE(fs::exists(here_.run(name)));
      continue;
    }
    ASSERT_EQ(converted.status, 0) << converted.output;
    EXPECT_EQ(converted.output.find("warning: the model has a sliding window") != std::string::npos,
              has_windows(entry.path()))
        << converted.output;
    ++became;
    const auto logits = [&](const fs::path& model) {
      const fs::path out = here_ / "logits.h5";
      fs::remove(out);
      const Outcome ran = headroom("forward " + model.string() + " --ids " + ids.string() + " --out " + out.string());
      EXPECT_EQ(ran.status, 0) << ran.output;
      return H5File::open(out).read<float>("sequences/0/logits").values;
    };
    EXPECT_LT(relative_distance(logits(here_.run(name)), logits(entry.path())), 1e-6);
    EXPECT_EQ(headroom("inspect --verify " + here_.run(name).string()).status, 0);
  }
  EXPECT_GE(became, 15);
}

TEST_F(Import, ThatWasMovedDoesNotBeginAnew) {
  const fs::path model = fs::path(source_dir()) / "tests/fixtures/hf/llama_2";
  ASSERT_EQ(headroom("convert " + model.string() + " --to headroom " + here_.run("here").string()).status, 0);
  fs::rename(here_.run("here"), here_.run("moved"));
  const Outcome moved = headroom("train " + (here_.run("moved") / "config.toml").string() + " --resume");
  EXPECT_EQ(moved.status, 2) << moved.output;
  EXPECT_THAT(moved.output,
              AllOf(HasSubstr("lies in the run " + here_.run("moved").string()), HasSubstr("--set name=moved")));
  EXPECT_FALSE(fs::exists(here_.run("here")));
  const Outcome nameless =
      headroom("convert " + model.string() + " --to headroom '" + (here_ / "a name").string() + "'");
  EXPECT_EQ(nameless.status, 3) << nameless.output;
  EXPECT_THAT(nameless.output, HasSubstr("cannot name a directory"));
  EXPECT_FALSE(fs::exists(here_ / "a name"));
}

TEST_F(Import, IsTrainedOnAtAnyLayout) {
  const fs::path model = here_ / "hf";  // of large weights, so that its loss is not that of new ones
  const std::string config = here_.config("run", "init.std = 0.2\nmodel.n_kv_heads = 2\n");
  ASSERT_EQ(headroom("train " + config + " --set train.steps=2 --set snapshot.every=0").status, 0);
  ASSERT_EQ(headroom("convert " + here_.run("run").string() + " --to hf " + model.string()).status, 0);
  const auto train_on = [&](const std::string& name, int ranks, const std::string& more) {
    EXPECT_EQ(headroom("convert " + model.string() + " --to headroom " + here_.run(name).string()).status, 0);
    const std::string arguments = "train " + (here_.run(name) / "config.toml").string() +
                                  " --resume --set data.corpus=" + (here_ / "corpus").string() +
                                  " --set train.steps=3 --set train.global_batch=4 --set snapshot.every=0"
                                  " --set optim.lr=1e-3 --set snapshot.sentences=[] " +
                                  more;
    return ranks == 1 ? headroom(arguments) : headroom_ranks(ranks, arguments);
  };
  const Outcome one = train_on("one", 1, "");
  ASSERT_EQ(one.status, 0) << one.output;
  EXPECT_THAT(one.output, HasSubstr("resumed from"));
  EXPECT_EQ(steps_in(here_.run("one")), 3);
  const Outcome four = train_on("four", 4, "--set parallel.tensor=2");
  ASSERT_EQ(four.status, 0) << four.output;
  const Outcome same = compare_checkpoints(here_.run("one"), here_.run("four"), "--tolerance 1e-4");
  EXPECT_EQ(same.status, 0) << same.output;
  // Its first loss is that of the weights it came with, not of new ones.
  const nlohmann::json first = nlohmann::json::parse(results_of(here_.run("one")).front());
  const Outcome fresh = headroom("train " + (here_.run("one") / "config.toml").string() + " --set name=fresh");
  ASSERT_EQ(fresh.status, 0) << fresh.output;
  const nlohmann::json other = nlohmann::json::parse(results_of(here_.run("fresh")).front());
  EXPECT_GT(std::abs(first["loss"].get<double>() - other["loss"].get<double>()), 0.1);
  // Going on once more is an ordinary resume, and its architecture is held to.
  EXPECT_EQ(headroom("train " + (here_.run("one") / "config.toml").string() + " --resume").status, 0);
  const Outcome another = train_on("another", 1, "--set model.rope_theta=500");
  EXPECT_EQ(another.status, 5) << another.output;
  EXPECT_THAT(another.output, HasSubstr("model.rope_theta: 10000.0 -> 500.0"));
}

}  // namespace
}  // namespace headroom::test
