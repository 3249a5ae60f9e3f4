// `headroom eval` as a user runs it: of a published model, of our own run, and what it says to mistakes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include <fstream>

#include "base/file.h"
#include "data/corpus.h"
#include "data/tokenizer.h"
#include "tests/launch/program.h"
#include "tests/source_dir.h"

namespace headroom::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string fixture(const std::string& name) {
  return (fs::path(source_dir()) / "tests/fixtures/eval" / name).string();
}

TEST(Eval, PublishedModelsTasksAndTexts) {
  const Scratch scratch;
  const std::string out = (scratch / "found.json").string();
  const Outcome ran = headroom("eval " + fixture("llama") + " --task " + fixture("tasks/arc.jsonl") + " " +
                               fixture("tasks/truthfulqa_mc2.jsonl") + " --perplexity " + fixture("text.txt") +
                               " --window 64 --stride 16 --out " + out);
  ASSERT_EQ(ran.status, 0) << ran.output;
  EXPECT_THAT(ran.output, AllOf(HasSubstr("acc_norm"), HasSubstr("mc2"), HasSubstr("sliding 64/16"),
                                HasSubstr("bits/byte"), HasSubstr("found.json")));
  const json found = json::parse(read_file(out));
  const json expected = json::parse(read_file(fixture("llama/expected.json")));
  EXPECT_EQ(found["model"]["family"], "llama");
  EXPECT_EQ(found["special_tokens"], "convention");
  EXPECT_THAT(found["headroom"].get<std::string>(), HasSubstr("commit"));
  EXPECT_EQ(found["tasks"][0]["name"], "arc");
  EXPECT_EQ(found["tasks"][0]["scores"][1]["id"], "two");
  EXPECT_EQ(found["tasks"][0]["scores"][1]["tokens"].size(), 3U);
  EXPECT_EQ(found["tasks"][0]["window"], 64);
  EXPECT_EQ(found["perplexity"][0]["scored_tokens"], expected["sliding"][0]["scored"]);
  EXPECT_NEAR(found["perplexity"][0]["nll"].get<double>() / expected["sliding"][0]["nll"].get<double>(), 1.0, 1e-6);
  EXPECT_EQ(found["perplexity"][0]["file_hash"].get<std::string>().size(), 16U);
}

TEST(Eval, LimitAndBosAreHeeded) {
  const Scratch scratch;
  const std::string out = (scratch / "found.json").string();
  const std::string common =
      "eval " + fixture("gpt2") + " --task " + fixture("tasks/hellaswag.jsonl") + " --out " + out;
  ASSERT_EQ(headroom(common + " --limit 2").status, 0);
  const json plain = json::parse(read_file(out));
  EXPECT_EQ(plain["tasks"][0]["scores"].size(), 2U);
  ASSERT_EQ(headroom(common + " --limit 2 --bos --batch 1").status, 0);
  const json with_bos = json::parse(read_file(out));
  EXPECT_NE(plain["tasks"][0]["scores"][0]["log_likelihoods"], with_bos["tasks"][0]["scores"][0]["log_likelihoods"]);
  EXPECT_EQ(with_bos["special_tokens"], "bos");
}

// The packed perplexity of a run's held-out text is the loss that the run logged: another program, another order of
// sums, the same number.
TEST(Eval, PackedPerplexityOfARunIsItsHeldOutLoss) {
  const Workspace here;
  const Outcome trained = headroom("train " + here.config("run", "eval.windows = 0\ncheckpoint.every = 8\n"));
  ASSERT_EQ(trained.status, 0) << trained.output;
  double logged = 0.0;
  std::ifstream metrics(here.run("run") / "metrics.jsonl");
  for (std::string line; std::getline(metrics, line);) {
    const json record = json::parse(line);
    if (record.contains("eval")) logged = record["eval"]["loss"].get<double>();
  }
  ASSERT_GT(logged, 1.0);
  // The held-out documents as text.
  const Tokenizer tokenizer = Tokenizer::load(here / "corpus");
  const TokenFile tokens = TokenFile::open(here / "corpus/valid.tokens");
  std::vector<std::int32_t> ids(tokens.size());
  tokens.read(0, ids, 0);
  std::string text;
  for (std::size_t begin = 0; begin < ids.size();) {
    ASSERT_EQ(ids[begin], tokenizer.bos());
    const auto end = std::find(ids.begin() + static_cast<std::ptrdiff_t>(begin) + 1, ids.end(), tokenizer.bos());
    text += tokenizer.decode({ids.begin() + static_cast<std::ptrdiff_t>(begin) + 1, end}) + "\n<|endoftext|>\n";
    begin = static_cast<std::size_t>(end - ids.begin());
  }
  const std::string out = (here / "found.json").string();
  const std::string command = "eval " + here.run("run").string() + " --packed --perplexity " +
                              here.file("held-out.txt", text).string() + " --out " + out;
  const Outcome ran = headroom(command);
  ASSERT_EQ(ran.status, 0) << ran.output;
  EXPECT_THAT(ran.output, AllOf(HasSubstr("run, step 8"), HasSubstr("packed 16")));
  const json found = json::parse(read_file(out))["perplexity"][0];
  EXPECT_EQ(found["tokens"].get<std::size_t>(), ids.size());
  EXPECT_EQ(found["scored_tokens"].get<std::size_t>(), ids.size() - 1);
  EXPECT_NEAR(found["mean_nll"].get<double>(), logged, 1e-5);
  // With another tokenizer it would be another text.
  const Outcome wrong = headroom(command + " --tokenizer " + fixture("llama"));
  EXPECT_EQ(wrong.status, 4) << wrong.output;
  EXPECT_THAT(wrong.output, HasSubstr("the model was trained with " + tokenizer.fingerprint()));
}

json last_tasks(const fs::path& run) {
  json last;
  std::ifstream metrics(run / "metrics.jsonl");
  for (std::string line; std::getline(metrics, line);) {
    const json record = json::parse(line);
    if (record.contains("tasks")) last = record["tasks"];
  }
  last.erase("seconds");
  return last;
}

// What a run answers while it trains, at any layout, is what `headroom eval` finds of its checkpoint.
TEST(Eval, ARunsTasksAreThoseOfItsCheckpointAtEveryLayout) {
  const Workspace here;
  std::string lines;
  for (int i = 0; i < 12; ++i) {
    lines +=
        "{\"context\": \"the old river\", \"choices\": [\"carries stories\", \"listen\", \"and winter light\"], "
        "\"answer\": " +
        std::to_string(i % 3) + "}\n";
    lines +=
        "{\"context\": \"quiet harbours\", \"choices\": [\"where\", \"people\"], "
        "\"answer\": " +
        std::to_string(i % 2) + "}\n";
  }
  const std::string task = here.file("mine.jsonl", lines).string();
  const std::string labels =
      here.file("truths.jsonl",
                "{\"context\": \"the\", \"choices\": [\"river\", \"winter\", \"old\"], \"labels\": [1, 0, 1]}\n"
                "{\"context\": \"to\", \"choices\": [\"quiet harbours\", \"light\"], \"labels\": [0, 1]}\n")
          .string();
  const std::string keys =
      "eval.tasks = [\"" + task + "\", \"" + labels + "\"]\neval.tasks_every = 4\ncheckpoint.every = 8\n";
  const Outcome alone = headroom("train " + here.config("alone", keys));
  ASSERT_EQ(alone.status, 0) << alone.output;
  const Outcome spread = headroom_ranks(4, "train " + here.config("spread", keys) + " --set parallel.tensor=2");
  ASSERT_EQ(spread.status, 0) << spread.output;
  const json found = last_tasks(here.run("alone"));
  ASSERT_EQ(found.size(), 2U);
  EXPECT_TRUE(found["mine"].contains("acc_norm_stderr")) << found;
  const json found_spread = last_tasks(here.run("spread"));
  const std::string out = (here / "found.json").string();
  const Outcome ran =
      headroom("eval " + here.run("alone").string() + " --task " + task + " " + labels + " --out " + out);
  ASSERT_EQ(ran.status, 0) << ran.output;
  const json later = json::parse(read_file(out));
  EXPECT_EQ(later["special_tokens"], "bos");
  for (const json& one : later["tasks"]) {
    const auto name = one["name"].get<std::string>();
    for (const auto& [metric, value] : one["metrics"].items()) {
      EXPECT_NEAR(found[name][metric].get<double>(), value.get<double>(), 1e-5) << name << " " << metric;
      EXPECT_NEAR(found_spread[name][metric].get<double>(), value.get<double>(), 1e-4) << name << " " << metric;
    }
  }
  // A mistake ends a run before its first step.
  const std::string bad = here.file("bad.jsonl", "{\"context\": \"c\"}\n").string();
  const Outcome refused = headroom("train " + here.config("refused", "eval.tasks = [\"" + bad + "\"]\n"));
  EXPECT_EQ(refused.status, 4) << refused.output;
  EXPECT_THAT(refused.output, HasSubstr("bad.jsonl line 1 has no \"choices\""));
  EXPECT_EQ(steps_in(here.run("refused")), 0);
}

TEST(Eval, MistakesAreNamed) {
  const Scratch scratch;
  const std::string model = fixture("gpt2");
  const auto expect = [](const Outcome& outcome, int status, const std::string& part) {
    EXPECT_EQ(outcome.status, status) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr(part));
  };
  expect(headroom("eval " + model), 2, "nothing to evaluate");
  expect(headroom("eval " + scratch.path().string() + " --perplexity " + fixture("text.txt")), 2, "is no model");
  expect(headroom("eval " + model + " --perplexity " + (scratch / "nowhere.txt").string()), 4, "nowhere.txt");
  const std::string bad = scratch.file("bad.jsonl", "{\"context\": \"c\"}\n").string();
  expect(headroom("eval " + model + " --task " + bad), 4, "bad.jsonl line 1 has no \"choices\"");
  const std::string empty = scratch.file("empty.txt", "").string();
  expect(headroom("eval " + model + " --perplexity " + empty), 4, "too few to score one");
  expect(headroom("eval " + model + " --perplexity " + fixture("text.txt") + " --window 161"), 2,
         "160 learned positions");
  expect(headroom("eval " + model + " --perplexity " + fixture("text.txt") + " --window 40 --stride 41"), 2,
         "passes over tokens");
  expect(headroom("eval " + model + " --perplexity " + fixture("text.txt") + " --bos --no-bos"), 2, "--no-bos");
  expect(headroom("eval " + model + " --perplexity " + fixture("text.txt") + " --out " + fixture("text.txt")), 2,
         "holds no results of eval");
  expect(headroom("eval " + model + " --perplexity " + fixture("text.txt") + " --out " +
                  (scratch / "none/results.json").string()),
         2, "there is no directory");
}

TEST(Eval, WhatWasFoundBeforeAMistakeIsNotLost) {
  const Scratch scratch;
  const std::string empty = scratch.file("empty.txt", "").string();
  const std::string out = (scratch / "results.json").string();
  const std::string command = "eval " + fixture("gpt2") + " --perplexity " + fixture("text.txt") + " ";
  const Outcome stopped = headroom(command + empty + " --limit 2 --out " + out);
  EXPECT_EQ(stopped.status, 4);
  EXPECT_THAT(stopped.output, AllOf(HasSubstr("sliding"), HasSubstr("empty.txt")));
  const json found = json::parse(content_of(out));
  ASSERT_EQ(found["perplexity"].size(), 1U);
  const Outcome again = headroom(command + "--limit 2 --out " + out);
  EXPECT_EQ(again.status, 0) << "over earlier results: " << again.output;
}

}  // namespace
}  // namespace headroom::test
