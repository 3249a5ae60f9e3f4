// What a study is made of: its texts, intervals and interventions, each by itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "analysis/statistics.h"
#include "analysis/study/bootstrap.h"
#include "analysis/study/intervention.h"
#include "analysis/study/texts.h"
#include "base/error.h"
#include "base/random.h"
#include "tests/source_dir.h"

namespace headroom::study {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Tokenizer tokenizer(const char* name) {
  return Tokenizer::load(std::filesystem::path(test::source_dir()) / "tests/fixtures/tokenizers" / name);
}

// Ids that tell where they lie.
TextIds numbered(const std::string& name, std::int32_t count, std::int32_t first = 1000) {
  TextIds text{name, {}};
  for (std::int32_t i = 0; i < count; ++i) text.ids.push_back(first + i);
  return text;
}

Options small(int tokens, int detection, int mean, int evaluation) {
  Options options;
  options.tokens = tokens;
  options.detection_sequences = detection;
  options.mean_sequences = mean;
  options.evaluation_sequences = evaluation;
  return options;
}

TEST(StudyTexts, AreLookedAtFromTheirBeginningToTheirEnd) {
  const Tokenizer llama = tokenizer("llama-2");
  std::vector<std::string> notes;
  const Sequences found = cut_sequences({numbered("a", 700, 1000), numbered("b", 700, 5000)}, {numbered("c", 70)},
                                        llama, true, small(8, 4, 40, 10), notes);
  ASSERT_EQ(found.mean.size(), 40U);
  ASSERT_EQ(found.detection.size(), 4U);
  std::vector<std::int32_t> second;  // the tokens behind BOS
  for (const decoder::Sequence& ids : found.detection) {
    EXPECT_EQ(ids.size(), 8U);
    EXPECT_EQ(ids[0], llama.bos());
    second.push_back(ids[1]);
  }
  EXPECT_THAT(second, ElementsAre(1000, 1350, 5000, 5350)) << "both texts, and both halves of each";
  EXPECT_THAT(notes, IsEmpty());
}

TEST(StudyTexts, AreTheSameWithBosAndWithout) {
  const Tokenizer llama = tokenizer("llama-2");
  std::vector<std::string> notes;
  const auto cut = [&](bool bos) {
    return cut_sequences({numbered("a", 900)}, {}, llama, bos, small(8, 4, 40, 10), notes);
  };
  const Sequences with = cut(true);
  const Sequences without = cut(false);
  ASSERT_EQ(with.mean.size(), without.mean.size());
  for (std::size_t i = 0; i < with.mean.size(); ++i) {
    decoder::Sequence text = with.mean[i];
    text.erase(text.begin());
    EXPECT_EQ(text, without.mean[i]);
  }
}

TEST(StudyTexts, HoldOutTheLastThirdOfEachWhereNothingElseIsHeldOut) {
  const Tokenizer llama = tokenizer("llama-2");
  std::vector<std::string> notes;
  const Sequences found = cut_sequences({numbered("a", 300, 1000), numbered("b", 300, 5000)}, {}, llama, false,
                                        small(6, 2, 1000, 1000), notes);
  ASSERT_EQ(found.evaluation.size(), 1U);
  EXPECT_EQ(found.evaluation[0].name, "the last third of a, b");
  std::int64_t of_b = 0;
  for (const decoder::Sequence& ids : found.evaluation[0].sequences) {
    EXPECT_TRUE((ids.front() >= 1200 && ids.back() < 1300) || (ids.front() >= 5200 && ids.back() < 5300));
    if (ids.front() >= 5200) ++of_b;
  }
  EXPECT_EQ(of_b, 20);
  for (const decoder::Sequence& ids : found.mean) {
    EXPECT_TRUE(ids.back() < 1200 || (ids.front() >= 5000 && ids.back() < 5200));
  }
  EXPECT_THAT(notes, ElementsAre(HasSubstr("80 sequences for means; 1000 were asked for"),
                                 HasSubstr("the last third of a, b holds 40 sequences for losses")));
}

TEST(StudyTexts, NamesTheTextThatIsTooShort) {
  const Tokenizer llama = tokenizer("llama-2");
  std::vector<std::string> notes;
  try {
    cut_sequences({numbered("long", 900)}, {numbered("short.txt", 5)}, llama, false, small(8, 2, 4, 4), notes);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_data);
    EXPECT_THAT(error.what(), HasSubstr("short.txt: 5 tokens are too few for a sequence of 8"));
  }
}

TEST(StudyTexts, TokensHaveTheClassOfTheirCharacters) {
  const Tokenizer gpt2 = tokenizer("gpt2");
  const auto class_at = [&](const std::string& text, std::int32_t position) {
    const std::vector<std::int32_t> ids = gpt2.encode(text);
    EXPECT_EQ(ids.size(), 1U) << text;
    return class_of(ids.front(), position, gpt2);
  };
  EXPECT_EQ(class_at(".", 0), TokenClass::first);
  EXPECT_EQ(class_at(".", 3), TokenClass::delimiter);
  EXPECT_EQ(class_at(",", 3), TokenClass::delimiter);
  EXPECT_EQ(class_at("\n", 3), TokenClass::delimiter);
  EXPECT_EQ(class_at("a", 3), TokenClass::word);
  EXPECT_EQ(class_at("7", 3), TokenClass::number);
  EXPECT_EQ(class_of(gpt2.bos(), 5, gpt2), TokenClass::bos);
  // A byte of a character that the vocabulary does not hold whole is nobody's word.
  const std::vector<std::int32_t> pieces = gpt2.encode("\u6f22");
  ASSERT_GT(pieces.size(), 1U);
  for (const std::int32_t id : pieces) EXPECT_EQ(class_of(id, 3, gpt2), TokenClass::other);
  // Characters of other scripts, whole: a full stop, and a letter.
  const Tokenizer gemma = tokenizer("gemma");
  const auto last_of = [](const Tokenizer& of, const std::string& text) { return of.encode(text).back(); };
  ASSERT_EQ(gemma.piece(last_of(gemma, "a\u3002")), "\u3002");
  EXPECT_EQ(class_of(last_of(gemma, "a\u3002"), 3, gemma), TokenClass::delimiter);
  const Tokenizer settings = tokenizer("settings");
  ASSERT_EQ(settings.piece(last_of(settings, "a\u00e9")), "\u00e9");
  EXPECT_EQ(class_of(last_of(settings, "a\u00e9"), 3, settings), TokenClass::word);
}

TEST(StudyBootstrap, GivesTheIntervalOfAMeanOfNormalLosses) {
  const RandomStream random(11, "losses");
  std::vector<SequenceLoss> losses;
  double sum = 0.0;
  double squares = 0.0;
  constexpr int kSequences = 400;
  for (int i = 0; i < kSequences; ++i) {
    const double loss = 3.0 + 0.5 * random.normal(static_cast<std::uint64_t>(i));
    losses.push_back({loss * 10.0, 10});
    sum += loss;
    squares += loss * loss;
  }
  const double mean = sum / kSequences;
  const double error = std::sqrt((squares / kSequences - mean * mean) / kSequences);
  const Interval found = perplexity_interval(losses, 4000, 1);
  EXPECT_NEAR(found.value, std::exp(mean), 1e-9);
  EXPECT_NEAR(std::log(found.low), mean - 1.96 * error, 0.1 * error);
  EXPECT_NEAR(std::log(found.high), mean + 1.96 * error, 0.1 * error);
  // Against itself nothing varies.
  const Interval same = ratio_interval(losses, losses, 100, 1);
  EXPECT_EQ(same.low, 1.0);
  EXPECT_EQ(same.high, 1.0);
}

TEST(StudyBootstrap, SaysNothingOfAFewSequencesAndSortsInfiniteLosses) {
  const std::vector<SequenceLoss> few(kFewestSequences - 1, {5.0, 3});
  EXPECT_TRUE(std::isnan(perplexity_interval(few, 100, 1).low));
  std::vector<SequenceLoss> broken(20, {5.0, 3});
  broken[3].nll = std::numeric_limits<double>::infinity();
  const Interval found = perplexity_interval(broken, 1000, 1);
  EXPECT_TRUE(std::isinf(found.value));
  EXPECT_TRUE(std::isinf(found.high));
  EXPECT_NEAR(found.low, std::exp(5.0 / 3.0), 1e-9) << "in a third of the draws the broken one is not";
}

// Two massive channels of both signs at two positions.
TEST(StudyIntervention, ChangesWhatItSaysAndNothingElse) {
  constexpr std::int64_t kRows = 3;
  constexpr std::int64_t kWidth = 8;
  std::vector<float> values(kRows * kWidth, 0.5F);
  values[0 * kWidth + 2] = 900.0F;   // position 0, channel 2
  values[0 * kWidth + 5] = -800.0F;  // position 0, channel 5
  values[2 * kWidth + 2] = 700.0F;   // position 2, channel 2
  Options options;
  const auto own = massive_elements(Tensor::over(std::span(values), {kRows, kWidth}), 0, options);
  ASSERT_EQ(own.size(), 3U);
  const std::vector<Element> calibration = {
      {0, 0, 2, 1000.0F}, {1, 0, 2, 500.0F}, {0, 0, 5, -600.0F}, {1, 0, 5, 400.0F}};
  const Target target = make_target(1, {2, 5}, calibration);
  const auto changed = [&](Kind kind, Change& change) {
    std::vector<float> copy = values;
    change = intervene(kind, target, own, 0, options, Tensor::over(std::span(copy), {kRows, kWidth}));
    std::vector<std::pair<std::size_t, float>> all;
    for (std::size_t i = 0; i < copy.size(); ++i) {
      if (copy[i] != values[i]) all.emplace_back(i, copy[i]);
    }
    EXPECT_EQ(change.changed, std::ssize(all));
    return all;
  };
  Change change;
  EXPECT_THAT(changed(Kind::zero, change),
              ElementsAre(std::pair(2, 0.0F), std::pair(5, 0.0F), std::pair(18, 0.0F), std::pair(21, 0.0F)));
  // Massive ones alone, by sign; of position 2 calibration has seen none.
  EXPECT_THAT(changed(Kind::mean, change), ElementsAre(std::pair(2, 750.0F), std::pair(5, -600.0F)));
  EXPECT_EQ(change.without_mean, 1);
  EXPECT_THAT(changed(Kind::clamp, change),
              ElementsAre(std::pair(2, 500.0F), std::pair(5, -500.0F), std::pair(18, 500.0F)));
  EXPECT_EQ(changed(Kind::control, change).size(), 4U) << "two positions by two channels";
  EXPECT_THAT(changed(Kind::none, change), IsEmpty());
}

TEST(MedianMagnitude, OfLongSpansIsThatOfSortedNumbers) {
  const RandomStream random(2, "median");
  for (const std::size_t size : {16384U, 16385U, 50000U}) {
    std::vector<float> values(size);
    for (std::size_t i = 0; i < size; ++i) {
      values[i] = static_cast<float>(random.normal(i) * std::exp2(static_cast<double>(i % 40) - 20.0));
    }
    values[7] = std::numeric_limits<float>::infinity();
    std::vector<float> sorted;
    for (const float value : values) sorted.push_back(std::abs(value));
    std::sort(sorted.begin(), sorted.end());
    const double expected = 0.5 * (static_cast<double>(sorted[(size - 1) / 2]) + static_cast<double>(sorted[size / 2]));
    EXPECT_EQ(median_magnitude(std::span<const float>(values)), expected) << size;
    values[size / 2] = -std::numeric_limits<float>::quiet_NaN();
    EXPECT_TRUE(std::isnan(median_magnitude(std::span<const float>(values)))) << size;
  }
  EXPECT_EQ(median_magnitude(std::span<const float>(std::vector<float>(20000, -0.0F))), 0.0);
}

}  // namespace
}  // namespace headroom::study
