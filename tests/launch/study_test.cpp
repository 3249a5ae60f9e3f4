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

// Words that differ, enough for some windows.
std::string text() {
  std::string all;
  for (int i = 0; i < 700; ++i) all += "The " + std::to_string(i * i % 997) + " cats, they said, sat on a mat. ";
  return all;
}

TEST(Study, OfARunWritesItsReport) {
  const Workspace here;
  const Outcome trained = headroom("train " + here.config("run", "train.steps = 4\ncheckpoint.every = 4\n"));
  ASSERT_EQ(trained.status, 0) << trained.output;
  const std::string text_file = here.file("text.txt", text()).string();
  const std::string out = (here / "study").string();
  // Thresholds that a small model reaches.
  const Outcome studied = headroom("analyze " + here.run("run").string() + " --text " + text_file +
                                   " --mean-sequences 6 --eval-sequences 6 --sequences 3 --abs-threshold 0.05 "
                                   "--ratio-threshold 2 --out " +
                                   out);
  ASSERT_EQ(studied.status, 0) << studied.output;
  EXPECT_THAT(studied.output, HasSubstr("study/index.html"));
  const auto interventions = nlohmann::json::parse(content_of(here / "study/tables/interventions.json"));
  EXPECT_FALSE(interventions.at("rows").empty());
  EXPECT_THAT(content_of(here / "study/tables/layers.csv"), HasSubstr("with BOS,0,"));
  EXPECT_THAT(content_of(here / "study/index.html"),
              AllOf(HasSubstr("Massive activations of run, step 4"), HasSubstr("without BOS")));
  EXPECT_TRUE(std::filesystem::exists(here / "study/figures/layers.svg"));
}

TEST(Study, OfAModelWithoutATokenizerSaysWhatIsMissing) {
  const Workspace here;
  const std::string text_file = here.file("text.txt", text()).string();
  const std::string model = std::string(source_dir()) + "/tests/fixtures/hf/llama_2";
  const Outcome refused = headroom("analyze " + model + " --text " + text_file);
  EXPECT_EQ(refused.status, 4) << refused.output;
  EXPECT_THAT(refused.output, HasSubstr("llama_2"));
  const Outcome none = headroom("analyze " + here.run("nowhere").string() + " --text " + text_file);
  EXPECT_EQ(none.status, 2);
  EXPECT_THAT(none.output, HasSubstr("is no model"));
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
