// A massive activation that was planted is found where it was planted, and matters as it was made to.
#include "analysis/study/study.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "model/huggingface/source.h"
#include "tests/source_dir.h"

namespace headroom::study {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::int64_t kVocab = 24;
constexpr std::int64_t kHidden = 64;
constexpr std::int64_t kFfn = 16;
constexpr std::int64_t kLayers = 4;
constexpr std::int32_t kBos = 0;

// Where the residual stream explodes: in this layer and channel, at these tokens.
struct Plant {
  std::int64_t layer;
  std::int32_t channel;
  std::vector<std::int32_t> tokens;
  double head_scale;  // how sure the model is where nothing explodes: of the wrong thing
};

// A LLaMA of small random weights. Channel 0 says which tokens are the plant's; nothing else writes to it. In the
// plant's layer the first inner neuron reads it and writes to the plant's channel what no other token makes.
class PlantedModel final : public decoder::WeightSource {
 public:
  explicit PlantedModel(const Plant& plant) : plant_(plant) {
    embedding_ = numbers("embedding", kVocab * kHidden, 1.0);
    for (std::int64_t id = 0; id < kVocab; ++id) embedding_[static_cast<std::size_t>(id * kHidden)] = 0.0F;
    for (const std::int32_t id : plant.tokens) embedding_[static_cast<std::size_t>(id) * kHidden] = 4.0F;
    head_ = numbers("head", kVocab * kHidden, plant.head_scale);
    for (std::int64_t id = 0; id < kVocab; ++id) {
      head_[static_cast<std::size_t>(id * kHidden)] = 0.0F;
      head_[static_cast<std::size_t>(id * kHidden + plant.channel)] = 0.0F;
    }
    ones_.assign(kHidden, 1.0F);
    qkv_ = numbers("qkv", 3 * kHidden * kHidden, 0.05);
    output_ = numbers("output", kHidden * kHidden, 0.05);
    std::fill_n(output_.begin(), kHidden, 0.0F);
    up_ = numbers("up", 2 * kFfn * kHidden, 0.05);
    down_ = numbers("down", kHidden * kFfn, 0.05);
    std::fill_n(down_.begin(), kFfn, 0.0F);
    outer_.final_norm.weight = tensor(ones_, {kHidden});
  }

  static decoder::Config config() {
    decoder::Config config;
    config.family = "planted";
    config.vocab_size = kVocab;
    config.hidden_size = config.embedding_size = kHidden;
    config.n_layers = kLayers;
    config.n_heads = config.n_kv_heads = 4;
    config.head_dim = 16;
    config.ffn_size = kFfn;
    decoder::Rope rope;
    rope.dims = 16;
    config.ropes = {rope};
    config.layers.assign(kLayers, {0, 0, 0.0});
    return config;
  }

  const decoder::OuterWeights& outer() override { return outer_; }
  void embed(std::span<const std::int32_t> ids, Tensor y) override {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      std::copy_n(embedding_.begin() + ids[i] * kHidden, kHidden, y.data<float>() + i * kHidden);
    }
  }
  const decoder::LayerWeights& layer(std::int64_t number) override {
    up_here_ = up_;
    down_here_ = down_;
    for (std::int64_t i = 0; i < kHidden; ++i) up_here_[i] = up_here_[kFfn * kHidden + i] = 0.0F;
    for (std::int64_t channel = 0; channel < kHidden; ++channel) down_here_[channel * kFfn] = 0.0F;
    if (number == plant_.layer) {
      up_here_[0] = up_here_[kFfn * kHidden] = 10.0F;
      down_here_[plant_.channel * kFfn] = 40.0F;
    }
    weights_.attention_norm.weight = weights_.mlp_norm.weight = tensor(ones_, {kHidden});
    weights_.qkv.weight = tensor(qkv_, {3 * kHidden, kHidden});
    weights_.output.weight = tensor(output_, {kHidden, kHidden});
    weights_.up.weight = tensor(up_here_, {2 * kFfn, kHidden});
    weights_.down.weight = tensor(down_here_, {kHidden, kFfn});
    return weights_;
  }
  Tensor head(std::int64_t first, std::int64_t count) override {
    return tensor(head_, {kVocab, kHidden}).row_range(first, count);
  }

 private:
  static std::vector<float> numbers(const char* name, std::int64_t count, double deviation) {
    const RandomStream random(7, name);
    std::vector<float> all;
    for (std::int64_t i = 0; i < count; ++i) {
      all.push_back(static_cast<float>(deviation * random.normal(static_cast<std::uint64_t>(i))));
    }
    return all;
  }
  static Tensor tensor(std::vector<float>& values, Shape shape) { return Tensor::over(std::span(values), shape); }

  Plant plant_;
  std::vector<float> embedding_, head_, ones_, qkv_, output_, up_, down_, up_here_, down_here_;
  decoder::OuterWeights outer_;
  decoder::LayerWeights weights_;
};

Options options() {
  Options options;
  options.detection_sequences = 3;
  options.mean_sequences = 6;
  options.evaluation_sequences = 12;
  options.tokens = 37;
  options.ratio = 100.0;
  options.resamples = 200;
  return options;
}

// A BOS and tokens that are none, drawn evenly.
std::vector<decoder::Sequence> draw(const char* name, int count, int tokens) {
  const RandomStream random(3, name);
  std::vector<decoder::Sequence> all(static_cast<std::size_t>(count));
  std::uint64_t index = 0;
  for (decoder::Sequence& ids : all) {
    ids.push_back(kBos);
    while (std::ssize(ids) < tokens)
      ids.push_back(1 + static_cast<std::int32_t>(random.uniform(index++) * (kVocab - 1)));
  }
  return all;
}

Condition study_of(const Plant& plant, const Options& rules = options()) {
  decoder::Decoder model(PlantedModel::config(), std::make_unique<PlantedModel>(plant));
  Sequences sequences;
  sequences.bos = true;
  sequences.mean = draw("mean", rules.mean_sequences, rules.tokens);
  sequences.detection.assign(sequences.mean.begin(), sequences.mean.begin() + rules.detection_sequences);
  sequences.evaluation = {{"held out", draw("evaluation", rules.evaluation_sequences, rules.tokens)}};
  return study(model, sequences, rules, [] {});
}

const Outcome& outcome(const Condition& condition, Kind kind) {
  return *std::find_if(condition.outcomes.begin(), condition.outcomes.end(),
                       [&](const Outcome& one) { return one.kind == kind; });
}

double ratio(const Condition& condition, Kind kind) {
  return outcome(condition, kind).ratio.value;
}

// Of setting to zero.
Severity severity(const Condition& condition) {
  return severity_of(condition.zeroed()->ratio.value);
}

void expect_found(const Condition& found, const Plant& plant) {
  ASSERT_TRUE(found.target);
  EXPECT_EQ(found.target->layer, plant.layer);
  EXPECT_THAT(found.target->channels, ElementsAre(plant.channel));
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    const Layer& one = found.layers[static_cast<std::size_t>(layer)];
    EXPECT_EQ(one.massive(options()), layer >= plant.layer) << layer;
    EXPECT_EQ(one.elements.empty(), layer < plant.layer) << layer;
  }
}

TEST(Study, FindsWhatExplodesAtTheFirstTokenOfTheLastLayerAndThatItDoesNotMatter) {
  const Plant plant{kLayers - 1, 11, {kBos}, 0.3};
  const Condition found = study_of(plant);
  expect_found(found, plant);
  for (const Element& element : found.layers.back().elements) {
    EXPECT_EQ(element.position, 0);
    EXPECT_EQ(element.channel, 11);
    EXPECT_GT(std::abs(element.value), 100.0F);
  }
  EXPECT_EQ(found.layers.back().elements.size(), 3U) << "one a sequence";
  EXPECT_EQ(severity(found), Severity::none);
  EXPECT_EQ(outcome(found, Kind::zero).change.changed, 12) << "one a sequence";
  EXPECT_FALSE(outcome(found, Kind::zero).texts[0].destroyed());
}

// All tokens explode in the first layer, which keeps the model from being sure of the wrong things.
TEST(Study, FindsWhatExplodesEverywhereAndThatEverythingHangsOnIt) {
  std::vector<std::int32_t> all(kVocab);
  std::iota(all.begin(), all.end(), 0);
  const Plant plant{0, 5, all, 6.0};
  const Condition found = study_of(plant);
  expect_found(found, plant);
  EXPECT_EQ(found.layers[0].elements.size(), 3U * 37U);
  EXPECT_EQ(severity(found), Severity::high);
  const Outcome& zero = outcome(found, Kind::zero);
  EXPECT_TRUE(zero.texts[0].destroyed());
  EXPECT_TRUE(std::isnan(zero.mean_perplexity())) << "no text is left to average over";
  EXPECT_THAT(found.suppression.leaked_layers, IsEmpty());
  EXPECT_GT(zero.texts[0].ratio.low, 100.0);
  EXPECT_LT(zero.texts[0].ratio.low, zero.texts[0].ratio.value);
  EXPECT_LT(zero.texts[0].ratio.value, zero.texts[0].ratio.high);
  // Their mean is what they are anyway; as many ordinary activations are not missed.
  EXPECT_NEAR(ratio(found, Kind::mean), 1.0, 0.05);
  EXPECT_NEAR(ratio(found, Kind::control), 1.0, 0.05);
  EXPECT_EQ(ratio(found, Kind::none), 1.0);
}

TEST(Study, FindsWhatExplodesAtSomeTokensInTheMiddle) {
  const Plant plant{2, 40, {3, 4, 5, 6, 7, 8}, 0.8};
  const Condition found = study_of(plant);
  expect_found(found, plant);
  for (const Element& element : found.layers[2].elements) EXPECT_NE(element.position, 0);
  EXPECT_EQ(severity(found), Severity::medium) << ratio(found, Kind::zero);
  const std::int64_t changed = outcome(found, Kind::zero).change.changed;
  EXPECT_EQ(outcome(found, Kind::clamp).change.changed, changed);
  EXPECT_EQ(outcome(found, Kind::control).change.changed, changed);
  EXPECT_THAT(found.suppression.leaked_layers, IsEmpty());
  EXPECT_GT(found.writers.mlp, 0.95 * found.writers.all) << "the feed-forward wrote them";
}

TEST(Study, OfAModelWithoutAnyGivesItsPerplexityAlone) {
  const Condition found = study_of({2, 40, {}, 1.0});
  EXPECT_FALSE(found.target);
  EXPECT_THAT(found.all_channels(), IsEmpty());
  ASSERT_EQ(found.outcomes.size(), 1U);
  EXPECT_EQ(found.outcomes[0].texts[0].tokens, 12 * 36) << "all but each sequence's first";
  EXPECT_EQ(found.zeroed(), nullptr);
}

TEST(Study, IsTheSameEachTime) {
  const Plant plant{0, 5, {kBos}, 1.0};
  const Condition once = study_of(plant);
  const Condition again = study_of(plant);
  for (std::size_t i = 0; i < once.outcomes.size(); ++i) {
    EXPECT_EQ(once.outcomes[i].texts[0].perplexity.value, again.outcomes[i].texts[0].perplexity.value);
    EXPECT_EQ(once.outcomes[i].texts[0].ratio.low, again.outcomes[i].texts[0].ratio.low);
  }
}

TEST(Study, TestsNothingWhereNoHeldOutSequenceHasWhatDetectionFound) {
  const Plant plant{1, 9, {kBos}, 1.0};
  decoder::Decoder model(PlantedModel::config(), std::make_unique<PlantedModel>(plant));
  Sequences sequences;
  sequences.mean = sequences.detection = draw("mean", 3, 37);
  sequences.evaluation = {{"held out", draw("evaluation", 12, 37)}};
  for (decoder::Sequence& ids : sequences.evaluation[0].sequences) ids.erase(ids.begin());  // the BOS
  const Condition found = study(model, sequences, options(), [] {});
  ASSERT_TRUE(found.target);
  EXPECT_EQ(outcome(found, Kind::zero).change.changed, 0);
  EXPECT_EQ(found.zeroed(), nullptr) << "no verdict without a test";
}

TEST(Study, NamesWhereAModelIsNotFinite) {
  class Damaged final : public decoder::WeightSource {
   public:
    explicit Damaged(std::int64_t layer) : layer_(layer) {}
    const decoder::OuterWeights& outer() override { return whole_.outer(); }
    void embed(std::span<const std::int32_t> ids, Tensor y) override { whole_.embed(ids, y); }
    const decoder::LayerWeights& layer(std::int64_t number) override {
      const decoder::LayerWeights& weights = whole_.layer(number);
      if (number == layer_) weights.down.weight.data<float>()[5] = std::numeric_limits<float>::quiet_NaN();
      return weights;
    }
    Tensor head(std::int64_t first, std::int64_t count) override { return whole_.head(first, count); }

   private:
    PlantedModel whole_{Plant{0, 5, {}, 1.0}};
    std::int64_t layer_;
  };
  decoder::Decoder model(PlantedModel::config(), std::make_unique<Damaged>(2));
  Sequences sequences;
  sequences.mean = sequences.detection = draw("mean", 2, 20);
  sequences.evaluation = {{"held out", draw("evaluation", 2, 20)}};
  try {
    study(model, sequences, options(), [] {});
    FAIL() << "a report over numbers that are none";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::diverged);
    EXPECT_THAT(error.what(), HasSubstr("layer 2"));
  }
}

TEST(Severity, HasStatedBounds) {
  EXPECT_EQ(severity_of(0.5), Severity::none);
  EXPECT_EQ(severity_of(1.03), Severity::none) << "GPT-2, Phi-4 and OPT in the paper";
  EXPECT_EQ(severity_of(1.1), Severity::slight);
  EXPECT_EQ(severity_of(10.1), Severity::medium) << "Falcon-7B";
  EXPECT_EQ(severity_of(1750.0), Severity::high) << "LLaMA-2-7B";
  EXPECT_EQ(severity_of(std::numeric_limits<double>::infinity()), Severity::high);
}

// ---- against transformers: tests/fixtures/make_study_fixture.py ----

class KnownStudy : public testing::TestWithParam<int> {
 protected:
  static nlohmann::json expected() {
    std::ifstream stream(directory() / "expected.json");
    return nlohmann::json::parse(stream);
  }
  static std::filesystem::path directory() {
    return std::filesystem::path(test::source_dir()) / "tests/fixtures/study";
  }
};

void expect_close(double ours, double theirs, const std::string& what) {
  EXPECT_NEAR(ours, theirs, 2e-5 * std::abs(theirs) + 1e-9) << what;
}

TEST_P(KnownStudy, FindsWhatTransformersAndTheDefinitionsGive) {
  const nlohmann::json all = expected();
  const nlohmann::json& known = all.at("conditions").at(static_cast<std::size_t>(GetParam()));
  const decoder::Config config = huggingface::read_config(directory());
  decoder::Decoder model(config, huggingface::open_checkpoint(directory()).weights);
  Options options;
  options.resamples = 4000;
  Sequences sequences;
  sequences.bos = known.at("bos");
  sequences.mean = known.at("mean").get<std::vector<decoder::Sequence>>();
  sequences.detection = known.at("detection").get<std::vector<decoder::Sequence>>();
  for (const auto& [name, texts] : known.at("texts").items()) {
    sequences.evaluation.push_back({name, texts.get<std::vector<decoder::Sequence>>()});
  }
  const Condition found = study(model, sequences, options, [] {});

  for (std::size_t number = 0; number < found.layers.size(); ++number) {
    const Layer& layer = found.layers[number];
    const nlohmann::json& theirs = known.at("layers").at(number);
    const std::string name = "layer " + std::to_string(number) + " ";
    for (std::size_t k = 0; k < 3; ++k) expect_close(layer.top[k], theirs.at("top").at(k), name + "top");
    expect_close(layer.median, theirs.at("median"), name + "median");
    expect_close(layer.rms, theirs.at("rms"), name + "rms");
    expect_close(layer.kurtosis, theirs.at("kurtosis"), name + "kurtosis");
    expect_close(layer.attention_top, theirs.at("attention_top"), name + "attention_top");
    expect_close(layer.mlp_top, theirs.at("mlp_top"), name + "mlp_top");
    EXPECT_EQ(layer.first_sinks, theirs.at("first_sinks")) << name;
    EXPECT_NEAR(layer.other_sinks, theirs.at("other_sinks"), 1e-12) << name;
    const nlohmann::json& elements = theirs.at("elements");
    ASSERT_EQ(layer.elements.size(), elements.size()) << name;
    for (std::size_t i = 0; i < elements.size(); ++i) {
      EXPECT_EQ(layer.elements[i].sequence, elements[i][0]) << name;
      EXPECT_EQ(layer.elements[i].position, elements[i][1]) << name;
      EXPECT_EQ(layer.elements[i].channel, elements[i][2]) << name;
      expect_close(layer.elements[i].value, elements[i][3], name + "element");
    }
    const nlohmann::json& row = theirs.at("map_row");
    for (std::size_t key = 0; key < row.size(); ++key) {
      EXPECT_NEAR(layer.attention[(kSinkTokens - 1) * kSinkTokens + key], row[key].get<double>(), 1e-5) << name << key;
    }
  }
  ASSERT_TRUE(found.target);
  EXPECT_EQ(found.target->layer, known.at("target"));
  EXPECT_EQ(nlohmann::json(found.target->channels), known.at("channels"));
  expect_close(found.writers.all, known.at("written").at("all"), "written");
  expect_close(found.writers.attention, known.at("written").at("attention"), "written by attention");
  expect_close(found.writers.mlp, known.at("written").at("mlp"), "written by the feed-forward");
  for (const nlohmann::json& theirs : known.at("outcomes")) {
    const std::string kind = theirs.at("kind");
    const Outcome& ours = *std::find_if(found.outcomes.begin(), found.outcomes.end(),
                                        [&](const Outcome& one) { return name_of(one.kind) == kind; });
    EXPECT_EQ(ours.change.changed, theirs.at("changed")) << kind;
    for (std::size_t text = 0; text < ours.texts.size(); ++text) {
      const nlohmann::json& on_text = theirs.at("texts").at(text);
      EXPECT_EQ(ours.texts[text].tokens, on_text.at("tokens")) << kind;
      const auto check = [&](const Interval& interval, const char* name) {
        expect_close(interval.value, on_text.at(name), kind);
        const nlohmann::json& ends = on_text.at(std::string(name) + "_interval");
        const double width = ends[1].get<double>() - ends[0].get<double>();
        // Other draws: the ends' own errors are a few hundredths of the width.
        EXPECT_NEAR(interval.low, ends[0].get<double>(), 0.08 * width + 1e-6) << kind << " " << name;
        EXPECT_NEAR(interval.high, ends[1].get<double>(), 0.08 * width + 1e-6) << kind << " " << name;
      };
      check(ours.texts[text].perplexity, "perplexity");
      check(ours.texts[text].ratio, "ratio");
    }
    const nlohmann::json& over_texts = theirs.at("ratio_interval");
    expect_close(ours.ratio.value, theirs.at("ratio"), kind);
    const double width = over_texts[1].get<double>() - over_texts[0].get<double>();
    EXPECT_NEAR(ours.ratio.low, over_texts[0].get<double>(), 0.08 * width + 1e-6) << kind;
    EXPECT_NEAR(ours.ratio.high, over_texts[1].get<double>(), 0.08 * width + 1e-6) << kind;
    if (kind != "zero") continue;
    EXPECT_EQ(nlohmann::json(found.suppression.leaked_layers), theirs.at("leaked_layers"));
    EXPECT_EQ(nlohmann::json(found.suppression.other_layers), theirs.at("other_layers"));
    EXPECT_EQ(found.suppression.left, theirs.at("left"));
  }
}

INSTANTIATE_TEST_SUITE_P(WithBosAndWithout, KnownStudy, testing::Values(0, 1));

}  // namespace
}  // namespace headroom::study
