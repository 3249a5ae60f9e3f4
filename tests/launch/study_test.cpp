// headroom analyze MODEL --text, of a run of ours and of a Hugging Face directory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/launch/program.h"
#include "tests/source_dir.h"

namespace headroom::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Words that differ, enough for some windows.
std::string text() {
  std::string all;
  for (int i = 0; i < 700; ++i) all += "The " + std::to_string(i * i % 997) + " cats, they said, sat on a mat. ";
  return all;
}

std::string trained(const Workspace& here, const std::string& name) {
  const Outcome ran = headroom("train " + here.config(name, "train.steps = 4\ncheckpoint.every = 4\n"));
  EXPECT_EQ(ran.status, 0) << ran.output;
  return here.run(name).string();
}

// Few sequences, and thresholds that a small model reaches.
const std::string kSmall =
    " --tokens 16 --mean-sequences 6 --eval-sequences 12 --sequences 3 --abs-threshold 0.05 --ratio-threshold 2 ";

TEST(Study, OfARunWritesItsReport) {
  const Workspace here;
  const std::string run = trained(here, "run");
  const std::string text_file = here.file("text.txt", text()).string();
  const std::string other_file = here.file("other.txt", text().substr(9000)).string();
  const std::string out = (here / "study").string();
  const Outcome studied = headroom("analyze " + run + " --text " + text_file + " --held-out " + text_file + " " +
                                   other_file + kSmall + "--title 'A small one' --out " + out);
  ASSERT_EQ(studied.status, 0) << studied.output;
  EXPECT_THAT(studied.output, HasSubstr("study/index.html"));
  EXPECT_THAT(content_of(here / "study/tables/layers.csv"), HasSubstr("with BOS,0,"));
  EXPECT_THAT(content_of(here / "study/index.html"),
              AllOf(HasSubstr("Massive activations of A small one"), HasSubstr("without BOS")));
  EXPECT_TRUE(std::filesystem::exists(here / "study/figures/layers.svg"));

  const auto study = nlohmann::json::parse(content_of(here / "study/tables/study.json"));
  EXPECT_EQ(study["model"]["directory"], run + "/checkpoints/step-00000004");
  EXPECT_EQ(study["texts"].size(), 3U);
  EXPECT_EQ(study["texts"][2]["use"], "held out");
  ASSERT_EQ(study["conditions"].size(), 2U);
  const auto& outcomes = study["conditions"][0]["outcomes"];
  ASSERT_EQ(outcomes.size(), 5U) << "thresholds that small are passed";
  ASSERT_EQ(outcomes[0]["texts"].size(), 2U) << "a held-out text each";
  const auto& unchanged = outcomes[0]["texts"][0];
  EXPECT_EQ(unchanged["ratio"]["value"], 1.0);
  EXPECT_EQ(unchanged["tokens"], 12 * 15);
  const auto findings = nlohmann::json::parse(content_of(here / "study/tables/findings.json"));
  EXPECT_THAT(findings[0], HasSubstr("not the 100 and 1000 of the literature"));
  const auto interventions = nlohmann::json::parse(content_of(here / "study/tables/interventions.json"));
  EXPECT_EQ(interventions.at("rows").size(), 2U * 5U * 3U) << "conditions, interventions, two texts and their mean";
}

TEST(Study, RefusesBeforeItComputes) {
  const Workspace here;
  const std::string run = trained(here, "run");
  const std::string text_file = here.file("text.txt", text()).string();
  const auto refused = [&](const std::string& arguments, int status, const std::string& words) {
    const Outcome outcome = headroom("analyze " + arguments);
    EXPECT_EQ(outcome.status, status) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr(words));
    EXPECT_THAT(outcome.output, Not(HasSubstr("study "))) << "no pass began";
  };
  refused(run + " --text " + text_file + kSmall + "--out " + text_file, 2, "exists and is no study");
  refused(run + " --text " + text_file + " --tokens 1", 2, "--tokens");
  refused(run + " --tokens 16", 2, "--text");
  refused(run + " --text " + text_file + kSmall + "--held-out " + here.file("short.txt", "too short").string(), 4,
          "short.txt");
  const std::string other = std::string(source_dir()) + "/tests/fixtures/tokenizers/llama-2";
  refused(run + " --text " + text_file + kSmall + "--tokenizer " + other, 4, "the model was trained with");
  const std::string model = std::string(source_dir()) + "/tests/fixtures/hf/llama_2";
  refused(model + " --text " + text_file, 2, "llama_2 holds no tokenizer");
  refused(here.run("nowhere").string() + " --text " + text_file, 2, "is no model");
}

TEST(Study, TakesNoReportsPlaceAndAnyTextsName) {
  const Workspace here;
  const std::string run = trained(here, "run");
  const std::string odd = here.file(
                                  "b\xe9"
                                  "d.txt",
                                  text())
                              .string();  // no UTF-8
  ASSERT_EQ(headroom("analyze " + run).status, 0);
  const Outcome onto_report =
      headroom("analyze " + run + " --text '" + odd + "'" + kSmall + "--out " + run + "/report");
  EXPECT_EQ(onto_report.status, 2) << onto_report.output;
  EXPECT_THAT(onto_report.output, HasSubstr("is no study"));
  const std::string out = (here / "study").string();
  const Outcome studied = headroom("analyze " + run + " --text '" + odd + "'" + kSmall + "--out " + out);
  EXPECT_EQ(studied.status, 0) << studied.output;
  EXPECT_THAT(content_of(here / "study/tables/study.json"), HasSubstr("b\uFFFDd.txt"));
  EXPECT_THAT(headroom("analyze " + run + " --out " + out).output, HasSubstr("is no report of runs"));
}

TEST(Study, OfTwoModelsOfOneNameDoNotShareAPlace) {
  const Workspace here;
  const std::string model = std::string(source_dir()) + "/tests/fixtures/eval/llama";
  const std::string text_file = here.file("text.txt", text()).string();
  std::filesystem::create_directories(here / "a");
  std::filesystem::create_directories(here / "b");
  std::filesystem::copy(model, here / "a/model");
  std::filesystem::copy(model, here / "b/model");
  const auto study = [&](const std::string& which) {
    return shell("cd " + (here / ".").string() + " && " + HEADROOM_BINARY + " analyze " + which + "/model --text " +
                 text_file + kSmall);
  };
  EXPECT_EQ(study("a").status, 0);
  EXPECT_EQ(study("a").status, 0) << "over its own";
  const Outcome other = study("b");
  EXPECT_EQ(other.status, 2) << other.output;
  EXPECT_THAT(other.output, AllOf(HasSubstr("study of another model"), HasSubstr("a/model")));
}

TEST(Study, OfAConfigThatAsksForMoreThanIsDoneIsRefusedByName) {
  const Workspace here;
  here.file("m/config.json", "{\"model_type\": \"falcon\", \"alibi\": true}");
  const std::string text_file = here.file("text.txt", text()).string();
  const Outcome refused = headroom("analyze " + (here / "m").string() + " --text " + text_file);
  EXPECT_EQ(refused.status, 5) << refused.output;
  EXPECT_THAT(refused.output, AllOf(HasSubstr("config.json"), HasSubstr("alibi")));
}

}  // namespace
}  // namespace headroom::test
