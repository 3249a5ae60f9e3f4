// What a study's report says, of findings made up by hand: every sentence by the numbers that it is made of.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "analysis/study/report_parts.h"
#include "tests/source_dir.h"

namespace headroom::study {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

// Four layers; massive elements in layers 1 to 3, at position 0 and at a later comma of the one detection sequence.
class StudyReport : public testing::Test {
 protected:
  StudyReport() {
    subject_.config.family = "llama";
    Sequences sequences;
    const std::vector<std::int32_t> comma = tokenizer_.encode("a,");
    sequences.detection = {{tokenizer_.bos(), comma.back(), comma.back(), comma.front(), tokenizer_.bos()}};
    sequences.mean = sequences.detection;
    sequences.evaluation = {{"one.txt", {}}, {"two.txt", {}}};
    subject_.sequences = {sequences};
    condition_.bos = true;
    condition_.layers.resize(4);
    for (std::size_t i = 0; i < 4; ++i) {
      Layer& layer = condition_.layers[i];
      layer.top[0] = i == 0 ? 10.0 : 2000.0 + static_cast<double>(i);
      layer.median = 0.5;
      layer.attention.assign(static_cast<std::size_t>(kSinkTokens * kSinkTokens), 0.0F);
      if (i > 0) layer.elements = {{0, 0, 7, 2000.0F}, {0, 0, 9, -900.0F}, {0, 2, 7, 800.0F}};
    }
    condition_.layers[2].first_sinks = 0.5;
    condition_.target = Target{1, {7, 9}, {}};
    condition_.writers = {3700.0, 370.0, 2590.0};
    for (const Kind kind : kKinds) {
      Outcome outcome;
      outcome.kind = kind;
      outcome.texts.resize(2);
      outcome.ratio = {1.0, 1.0, 1.0};
      condition_.outcomes.push_back(outcome);
    }
    zero().change.changed = 4;
    zero().ratio = {1.5, 1.2, 2.5};
    condition_.suppression = {10, 0, {}, {}};
  }

  Outcome& zero() { return condition_.outcomes[1]; }
  std::vector<std::string> sentences() const { return findings(subject_, {condition_}, options_, tokenizer_); }

  Tokenizer tokenizer_ =
      Tokenizer::load(std::filesystem::path(test::source_dir()) / "tests/fixtures/tokenizers/llama-2");
  Subject subject_;
  Condition condition_;
  Options options_;
};

TEST_F(StudyReport, SaysWhereMassiveElementsAreAndWhoWroteThem) {
  const std::vector<std::string> all = sentences();
  EXPECT_THAT(all[0], AllOf(HasSubstr("With BOS: massive elements first in layer 1, in channels 7, 9"),
                            HasSubstr("at position 0 of 1 of 1 sequences, at 1 of 2 later delimiter tokens"),
                            HasSubstr("The averages of layers 1–3 pass both tests"),
                            HasSubstr("2,003 in layer 3, 4,006 times its median")));
  EXPECT_THAT(all[1], HasSubstr("its feed-forward wrote 70 %, its attention 10 %; 20 % came in"));
  EXPECT_THAT(all.back(),
              AllOf(HasSubstr("12.5 % of all heads"), HasSubstr("most in layer 2: 50"), Not(HasSubstr("slot"))));
  // Of post-norm models a sum of parts would say nothing.
  subject_.config.place = decoder::NormPlace::post_sum;
  EXPECT_THAT(sentences(), Not(Contains(HasSubstr("feed-forward wrote"))));
  // A later BOS is one among later ones.
  condition_.layers[1].elements.push_back({0, 4, 7, 900.0F});
  EXPECT_THAT(sentences()[0], HasSubstr("at 1 of 1 later BOS tokens"));
}

TEST_F(StudyReport, JudgesByTheRatioAndItsInterval) {
  const auto consequence = [&] { return sentences()[2]; };
  EXPECT_THAT(consequence(),
              AllOf(HasSubstr("multiplies perplexity by 1.500 (1.200 to 2.500) over 2 texts"),
                    HasSubstr("that is slightly detrimental, though its interval reaches “detrimental”")));
  zero().ratio = {1.01, 0.99, 1.02};
  EXPECT_THAT(consequence(), AllOf(HasSubstr("that is not detrimental."), Not(HasSubstr("reaches"))));
  zero().ratio = {0.8, 0.7, 0.9};
  EXPECT_THAT(consequence(), HasSubstr("the model is better without them"));
  zero().ratio = {std::numeric_limits<double>::infinity(), 5.0, std::numeric_limits<double>::infinity()};
  zero().texts[1].not_finite = 3;
  EXPECT_THAT(consequence(), AllOf(HasSubstr("by ∞"), HasSubstr("3 sequences without a finite loss"),
                                   HasSubstr("highly detrimental")));
  const nlohmann::ordered_json json = study_json(subject_, {condition_}, options_, {});
  EXPECT_EQ(json["conditions"][0]["outcomes"][1]["ratio"]["value"], "inf") << "not the null of what is not known";
  zero().change.changed = 0;
  EXPECT_THAT(consequence(), HasSubstr("was not tested"));
}

TEST_F(StudyReport, TellsWhatZeroDidNotReach) {
  const auto consequence = [&] { return sentences()[2]; };
  EXPECT_THAT(consequence(), AllOf(Not(HasSubstr("again")), Not(HasSubstr("stayed"))));
  condition_.suppression = {4000, 1200, {2, 3}, {3}};
  condition_.outcomes[2].change.without_mean = 6;
  EXPECT_THAT(consequence(),
              AllOf(HasSubstr("massive again in layers 2 and 3"), HasSubstr("1,200 of 4,000 massive elements stayed"),
                    HasSubstr("Layer 3 has massive elements at other places"),
                    HasSubstr("6 of the elements left as they are for want of a mean")));
}

TEST_F(StudyReport, SaysWhenMassiveIsNotTheLiteraturesWord) {
  options_.absolute = 0.01;
  options_.ratio = 5000.0;
  EXPECT_THAT(sentences()[0], HasSubstr("beyond 0.01 and 5000 times the median here, not the 100 and 1000"));
}

TEST_F(StudyReport, TellsTheKvBiasSlotsSinksOfModelsThatHaveOne) {
  subject_.config.kv_bias = KvBiasKind::kv;
  condition_.layers[1].slot_sinks = 1.0;
  EXPECT_THAT(sentences().back(), HasSubstr("25.0 % the KV bias' slot"));
}

TEST_F(StudyReport, ShowsTheLargestOfManyChannels) {
  std::vector<Element> many;
  for (std::int32_t channel = 0; channel < 100; ++channel) {
    many.push_back({0, 1, channel, 100.0F + static_cast<float>(channel)});
  }
  for (Layer& layer : condition_.layers) layer.elements.clear();
  condition_.layers[3].elements = many;
  const report::Table all = channel_table({condition_});
  EXPECT_EQ(all.rows.size(), 100U);
  const report::Table some = largest_channels(all);
  ASSERT_EQ(some.rows.size(), 30U);
  EXPECT_EQ(some.rows.front().back().value, 170.0);
  EXPECT_EQ(some.rows.back().back().value, 199.0);
}

}  // namespace
}  // namespace headroom::study
