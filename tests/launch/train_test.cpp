// headroom train from outside: whole runs on several ranks, and everything that a run must refuse or survive.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdint>
#include <vector>

#include "tests/data/support.h"
#include "tests/launch/program.h"

namespace headroom::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kLlamaLike = "model.n_kv_heads = 2\n[model.attention]\nkv_bias = \"kv\"\n";
constexpr const char* kGpt2Like =
    "model.norm = \"layer\"\nmodel.norm_bias = true\nmodel.activation = \"gelu_tanh\"\nmodel.positions = \"learned\"\n"
    "model.bias = true\nmodel.tied_head = true\ninit.scheme = \"gpt2\"\n";

// What a run's metrics say of the loss at its first and last step.
std::pair<double, double> first_and_last_loss(const fs::path& run) {
  std::vector<double> losses;
  std::ifstream metrics(run / "metrics.jsonl");
  for (std::string line; std::getline(metrics, line);) {
    const std::size_t at = line.find("\"loss\":");
    if (line.starts_with("{\"step\"")) losses.push_back(std::stod(line.substr(at + 7)));
  }
  EXPECT_FALSE(losses.empty());
  return losses.empty() ? std::pair(0.0, 0.0) : std::pair(losses.front(), losses.back());
}

class FourRanks : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(FourRanks, TrainAtTwoByTwoAndReport) {
  const Workspace here;
  const std::string config = here.config("run", GetParam().second);
  const Outcome trained =
      headroom_ranks(4, "train " + config + " --set parallel.tensor=2 --set train.steps=12 --set snapshot.every=6");
  ASSERT_EQ(trained.status, 0) << trained.output;
  EXPECT_EQ(steps_in(here.run("run")), 12);
  EXPECT_THAT(content_of(here.run("run") / "metrics.jsonl"), HasSubstr("\"layout\":\"2x2\""));
  const auto [first, last] = first_and_last_loss(here.run("run"));
  EXPECT_LT(last, first - 0.5);
  EXPECT_TRUE(fs::exists(here.run("run") / "finished"));
  EXPECT_TRUE(fs::exists(here.run("run") / "snapshots/step-00000006.h5"));

  const Outcome report = headroom("analyze " + here.run("run").string());
  EXPECT_EQ(report.status, 0) << report.output;
  EXPECT_THAT(report.output, HasSubstr((here.run("run") / "report/index.html").string()));
}

INSTANTIATE_TEST_SUITE_P(Models, FourRanks,
                         testing::Values(std::pair("llama", kLlamaLike), std::pair("gpt2", kGpt2Like)),
                         [](const auto& parameter) { return std::string(parameter.param.first); });

TEST(Train, MoreOrFewerRanksThanTheLayoutAreRefusedWithTheNumbers) {
  const Workspace here;
  const Outcome outcome = headroom_ranks(3, "train " + here.config("run") + " --set parallel.data=2");
  EXPECT_EQ(outcome.status, 3) << outcome.output;
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("the layout needs 2 ranks (parallel.data = 2 x parallel.tensor = 1), but "
                                              "3 started"),
                                    HasSubstr("mpirun -n 2")));
  EXPECT_FALSE(fs::exists(here.run("run")));
}

TEST(Train, WhatDoesNotDivideIsRefusedWithTheNumbers) {
  const Workspace here;
  const Outcome heads = headroom_ranks(3, "train " + here.config("run") + " --set parallel.tensor=3");
  EXPECT_EQ(heads.status, 3) << heads.output;
  EXPECT_THAT(heads.output, AllOf(HasSubstr("4"), HasSubstr("3"), HasSubstr("n_heads")));
  EXPECT_FALSE(fs::exists(here.run("run")));
}

TEST(Train, AConfigErrorNamesFileLineAndKeyAndTouchesNothing) {
  const Workspace here;
  const std::string config = here.config("run", "optim.weigth_decay = 0.1\n");
  const Outcome outcome = headroom("train " + config);
  EXPECT_EQ(outcome.status, 3);
  EXPECT_THAT(outcome.output, AllOf(HasSubstr(config + ":"), HasSubstr("unknown key 'optim.weigth_decay'"),
                                    HasSubstr("Did you mean 'optim.weight_decay'?")));
  EXPECT_FALSE(fs::exists(here.run("run")));
}

TEST(Train, AModelThatDoesNotFitIsRefusedBeforeItStarts) {
  const Workspace here;
  const Outcome outcome = headroom("train " + here.config("run") + " --set model.hidden_size=1000000");
  EXPECT_EQ(outcome.status, 8) << outcome.output;
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("no memory for "), HasSubstr("GiB needed"), HasSubstr("available")));
  EXPECT_EQ(steps_in(here.run("run")), 0);
}

// ---- corpora -------------------------------------------------------------------------------------------------------

TEST(Train, DamagedCorpusFilesAreRefusedByName) {
  const Workspace here;
  const std::string config = here.config("run");
  const fs::path tokens = here / "corpus/train.tokens";
  const std::string whole = content_of(tokens);
  const std::vector<std::pair<std::string, std::string>> damages = {
      {whole.substr(0, whole.size() / 2), "truncated"}, {"", "empty"}, {std::string(64, 'x'), "foreign"}};
  for (const auto& [content, what] : damages) {
    SCOPED_TRACE(what);
    std::ofstream(tokens, std::ios::binary) << content;
    const Outcome outcome = headroom("train " + config);
    EXPECT_EQ(outcome.status, 4) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr(tokens.string()));
    EXPECT_FALSE(fs::exists(here.run("run")));
  }
}

TEST(Train, TokensBeyondTheVocabularyEndTheRunAndAreNamed) {
  const Workspace here;
  std::vector<std::uint16_t> ids(600);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::uint16_t>(i % 90);
  ids[333] = 4711;
  const fs::path tokens = here.file("train.bin", bytes_of(ids));
  const fs::path valid = here.file("valid.bin", bytes_of(std::vector<std::uint16_t>(100, 7)));
  const Outcome outcome =
      headroom("train " + here.config("run") + " --set data.corpus=" + tokens.string() +
               " --set data.valid=" + valid.string() + " --set model.vocab_size=100 --set 'snapshot.sentences=[]'");
  EXPECT_EQ(outcome.status, 4) << outcome.output;
  EXPECT_THAT(outcome.output, AllOf(HasSubstr(tokens.string()), HasSubstr("4711"), HasSubstr("333")));
}

TEST(Train, AnotherTokenizerThanTheCorpusWasMadeWithIsRefused) {
  const Workspace here;
  const fs::path text = here.file("other.txt", prose(400, 77));
  ASSERT_EQ(headroom("tokenize " + text.string() + " --out " + (here / "other").string() + " --vocab-size 300").status,
            0);
  const Outcome outcome =
      headroom("train " + here.config("run") + " --set data.tokenizer=" + (here / "other/tokenizer.model").string());
  EXPECT_EQ(outcome.status, 4) << outcome.output;
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("other/tokenizer.model"), HasSubstr("fingerprint")));
}

// ---- what is there already -----------------------------------------------------------------------------------------

TEST(Train, APastRunIsNotOverwrittenButGoneOnWith) {
  const Workspace here;
  const std::string config = here.config("run");
  ASSERT_EQ(headroom("train " + config).status, 0);
  const std::string metrics = content_of(here.run("run") / "metrics.jsonl");

  const Outcome again = headroom("train " + config);
  EXPECT_EQ(again.status, 10) << again.output;
  EXPECT_THAT(again.output, AllOf(HasSubstr("already holds a run (step-00000008"), HasSubstr("--resume")));
  EXPECT_EQ(content_of(here.run("run") / "metrics.jsonl"), metrics);

  const Outcome other = headroom("train " + config + " --resume --set optim.lr=2e-2");
  EXPECT_EQ(other.status, 5) << other.output;
  EXPECT_THAT(other.output, HasSubstr("optim.lr: 0.01 -> 0.02"));
  EXPECT_EQ(content_of(here.run("run") / "metrics.jsonl"), metrics);

  EXPECT_EQ(headroom("train " + config + " --resume").status, 0);
  EXPECT_EQ(content_of(here.run("run") / "metrics.jsonl"), metrics);
}

TEST(Train, OtherSettingsAreRefusedBeforeTheFirstCheckpointToo) {
  const Workspace here;
  const std::string config = here.config("run");
  ASSERT_EQ(headroom("train " + config).status, 0);
  fs::remove_all(here.run("run") / "checkpoints");
  const std::string metrics = content_of(here.run("run") / "metrics.jsonl");
  EXPECT_EQ(headroom("train " + config + " --resume --set optim.lr=2e-2").status, 5);
  EXPECT_EQ(content_of(here.run("run") / "metrics.jsonl"), metrics);
}

TEST(Train, ARunThatWasKilledGoesOnToTheSameBits) {
  const Workspace here;
  const std::string settings = " --set train.steps=1000 --set checkpoint.every=30";
  ASSERT_EQ(headroom_ranks(2, "train " + here.config("whole") + settings).status, 0);

  // Rank 0, which the lock names, is killed as soon as fifty steps and a checkpoint are there: a condition, not a time.
  const std::string config = here.config("killed");
  const std::string run = here.run("killed").string();
  const Outcome killed = shell(HEADROOM_MPIRUN " 2 " HEADROOM_BINARY " train " + config + settings +
                               " & launcher=$!\n"
                               "until [ \"$(wc -l < " +
                               run + "/metrics.jsonl 2>/dev/null || echo 0)\" -gt 50 ] && [ -d " + run +
                               "/checkpoints/step-00000030 ]; do\n"
                               "  kill -0 $launcher || exit 3\n"
                               "done\n"
                               "kill -KILL $(sed 's/process \\([0-9]*\\) .*/\\1/' " +
                               run +
                               "/lock)\n"
                               "wait $launcher");
  ASSERT_EQ(killed.status, 128 + SIGKILL) << killed.output;
  ASSERT_FALSE(fs::exists(here.run("killed") / "finished"));

  const Outcome resumed = headroom_ranks(2, "train " + config + settings + " --resume");
  ASSERT_EQ(resumed.status, 0) << resumed.output;
  EXPECT_THAT(resumed.output, HasSubstr("resumed from"));
  EXPECT_EQ(results_of(here.run("killed")), results_of(here.run("whole")));
}

// ---- a disk that goes away, and one that fills up
// ------------------------------------------------------------------------------------------

// Again and again: nothing is trained, nothing is cut, nothing is renamed.
TEST(Train, WhenAllCheckpointsAreDamagedNothingHappensToTheRun) {
  const Workspace here;
  const std::string config = here.config("run", "checkpoint.every = 3\n");
  ASSERT_EQ(headroom("train " + config).status, 0);
  for (const auto& entry : fs::directory_iterator(here.run("run") / "checkpoints")) {
    if (!entry.is_symlink()) fs::resize_file(entry.path() / "rank-00000.h5", 1000);
  }
  const std::string metrics = content_of(here.run("run") / "metrics.jsonl");
  for (int time = 0; time < 2; ++time) {
    const Outcome outcome = headroom("train " + config + " --resume --set train.steps=8");
    EXPECT_EQ(outcome.status, 5) << outcome.output;
    EXPECT_THAT(outcome.output, AllOf(HasSubstr("is whole"), HasSubstr("rank-00000.h5 has 1000 bytes")));
    EXPECT_EQ(content_of(here.run("run") / "metrics.jsonl"), metrics);
  }
}

TEST(Train, ARunWhoseCheckpointsAreAwayIsNotBegunAnew) {
  const Workspace here;
  const std::string config = here.config("run", "checkpoint.every = 3\n");
  ASSERT_EQ(headroom("train " + config).status, 0);
  const std::string metrics = content_of(here.run("run") / "metrics.jsonl");
  fs::rename(here.run("run") / "checkpoints", here / "away");
  for (int time = 0; time < 2; ++time) {
    const Outcome outcome = headroom("train " + config + " --resume");
    EXPECT_EQ(outcome.status, 5) << outcome.output;
    EXPECT_THAT(outcome.output, AllOf(HasSubstr("had checkpoints"), HasSubstr("Bring them back")));
    EXPECT_EQ(content_of(here.run("run") / "metrics.jsonl"), metrics);
    fs::remove(here.run("run") / "finished");  // the metrics tell as well
  }
}

// Again after another interruption: the file that is there then is the run's own.
TEST(Train, MetricsThatWereMovedAwayAreNotMissedTwice) {
  const Workspace here;
  const std::string config = here.config("run", "train.steps = 12\ncheckpoint.every = 3\n");
  const auto rehearse = [&](const char* scene, const char* more) {
    return shell("HEADROOM_REHEARSE='" + std::string(scene) + "' " HEADROOM_BINARY " train " + config + more);
  };
  ASSERT_EQ(rehearse("stop step=4", "").status, 75);
  fs::rename(here.run("run") / "metrics.jsonl", here / "old.jsonl");
  const Outcome again = rehearse("kill step=6", " --resume");
  EXPECT_EQ(again.status, 128 + SIGKILL) << again.output;
  EXPECT_THAT(again.output, HasSubstr("metrics.jsonl is missing"));
  const Outcome end = headroom("train " + config + " --resume");
  EXPECT_EQ(end.status, 0) << end.output;
  EXPECT_EQ(steps_in(here.run("run")), 8);
}

TEST(Train, ACheckpointOfAnotherVersionIsNotTakenForDamaged) {
  const Workspace here;
  const std::string config = here.config("run", "checkpoint.every = 3\n");
  ASSERT_EQ(headroom("train " + config).status, 0);
  const fs::path manifest = here.run("run") / "checkpoints/step-00000008/manifest.json";
  std::string text = content_of(manifest);
  text.replace(text.find("\"version\": 3"), 12, "\"version\": 4");
  std::ofstream(manifest) << text;
  const Outcome outcome = headroom("train " + config + " --resume");
  EXPECT_EQ(outcome.status, 5) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("has version 4, this program reads 3"));
  EXPECT_TRUE(fs::exists(manifest));
}

TEST(Train, AnotherConfigIsLoadedAllTheSameWhenAskedFor) {
  const Workspace here;
  const std::string config = here.config("run");
  ASSERT_EQ(headroom("train " + config).status, 0);
  const Outcome outcome =
      headroom("train " + config + " --resume --accept-mismatch --set optim.lr=2e-2 --set train.steps=10");
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("optim.lr: 0.01 -> 0.02"), HasSubstr("loaded all the same")));
  EXPECT_EQ(steps_in(here.run("run")), 10);
  const Outcome fewer = headroom("train " + config + " --resume --accept-mismatch --set train.steps=5");
  EXPECT_EQ(fewer.status, 3) << fewer.output;
  EXPECT_THAT(fewer.output, HasSubstr("train.steps = 5"));
}

// The checkpoints' directory is away when one is due at step 50, and back again some steps later.
TEST(Train, ADirectoryThatIsAwayForAWhileCostsNothing) {
  const Workspace here;
  const std::string settings = "train.steps = 400\ncheckpoint.every = 50\n";
  ASSERT_EQ(headroom_ranks(2, "train " + here.config("whole", settings)).status, 0);
  const auto reach = [](int steps) {
    return "until [ \"$(cat $run/metrics.jsonl 2>/dev/null | grep -c '^{\"step')\" -ge " + std::to_string(steps) +
           " ]; do kill -0 $launcher || exit 3; done\n";
  };
  const Outcome outcome =
      shell("run=" + here.run("run").string() + "\n" HEADROOM_MPIRUN " 2 " HEADROOM_BINARY " train " +
            here.config("run", settings) + " & launcher=$!\n" + reach(10) + "mv $run/checkpoints $run/away\n" +
            reach(55) + "mv $run/away $run/checkpoints\n" + "wait $launcher");
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("the checkpoint of step 50 could not be written, training goes on"),
                                    HasSubstr("checkpoints can be written again")));
  EXPECT_EQ(results_of(here.run("run")), results_of(here.run("whole")));
}

TEST(Train, AFullDiskEndsTheRunWithItsCodeAndItGoesOnWhenThereIsSpace) {
  const Workspace here;
  const std::string config = here.config("run");
  const std::string train = std::string(HEADROOM_BINARY) + " train " + config +
                            " --set train.steps=12 --set checkpoint.every=1 --set checkpoint.keep=100 --set runs_dir=" +
                            (here / "small").string();
  // In a mount namespace of its own, as an ordinary user in a user namespace too.
  const std::string inside =
      here.file("inside.sh", "mount -t tmpfs -o size=3m tmpfs " + (here / "small").string() + " || exit 77\n" + train +
                                 "; echo \"status $?\"\n" + "mount -o remount,size=200m " + (here / "small").string() +
                                 " || exit 77\n" + train + " --resume; status=$?; cp -r " +
                                 (here / "small/run").string() + " " + (here / "kept").string() + "; exit $status\n")
          .string();
  fs::create_directories(here / "small");
  const Outcome outcome =
      shell("unshare -m sh " + inside + " || { [ $? = 77 ] || exit 1; unshare -Urm sh " + inside + " || exit; }");
  if (outcome.output.find("status ") == std::string::npos) {
    GTEST_SKIP() << "no small tmpfs can be mounted here, neither as root nor in a user namespace: " << outcome.output;
  }
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("status 9\n"), HasSubstr("No space left on device"),
                                    HasSubstr("no checkpoint could be written since step"), HasSubstr("resumed from")));
  EXPECT_EQ(steps_in(here / "kept"), 12);
}

}  // namespace
}  // namespace headroom::test
