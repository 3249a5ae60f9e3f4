// A massive activation that was planted is found where it was planted, and matters as it was made to.
#include "analysis/study/study.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/random.h"

namespace headroom::study {
namespace {

using ::testing::ElementsAre;
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
  options.evaluation_sequences = 8;
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
  sequences.evaluation = draw("evaluation", rules.evaluation_sequences, rules.tokens);
  return study(model, sequences, rules, [] {});
}

const Outcome& outcome(const Condition& condition, Kind kind) {
  return *std::find_if(condition.outcomes.begin(), condition.outcomes.end(),
                       [&](const Outcome& one) { return one.kind == kind; });
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
  const Plant plant{kLayers - 1, 11, {kBos}, 1.0};
  const Condition found = study_of(plant);
  expect_found(found, plant);
  for (const Element& element : found.layers.back().elements) {
    EXPECT_EQ(element.position, 0);
    EXPECT_EQ(element.channel, 11);
    EXPECT_GT(std::abs(element.value), 100.0F);
  }
  EXPECT_EQ(found.layers.back().elements.size(), 3U) << "one a sequence";
  EXPECT_EQ(found.severity(), Severity::none);
  EXPECT_EQ(outcome(found, Kind::zero).changed, 8) << "one a sequence";
  EXPECT_FALSE(outcome(found, Kind::zero).destroyed());
}

// All tokens explode in the first layer, which keeps the model from being sure of the wrong things.
TEST(Study, FindsWhatExplodesEverywhereAndThatEverythingHangsOnIt) {
  std::vector<std::int32_t> all(kVocab);
  std::iota(all.begin(), all.end(), 0);
  const Plant plant{0, 5, all, 6.0};
  const Condition found = study_of(plant);
  expect_found(found, plant);
  EXPECT_EQ(found.layers[0].elements.size(), 3U * 37U);
  EXPECT_EQ(found.severity(), Severity::high);
  const Outcome& zero = outcome(found, Kind::zero);
  EXPECT_TRUE(zero.destroyed());
  EXPECT_THAT(zero.leaked_layers, IsEmpty());
  EXPECT_GT(zero.ratio.low, 100.0);
  EXPECT_LT(zero.ratio.low, zero.ratio.value);
  EXPECT_LT(zero.ratio.value, zero.ratio.high);
  // Their mean is what they are anyway; as many ordinary activations are not missed.
  EXPECT_NEAR(outcome(found, Kind::mean).ratio.value, 1.0, 0.05);
  EXPECT_NEAR(outcome(found, Kind::control).ratio.value, 1.0, 0.05);
  EXPECT_EQ(outcome(found, Kind::none).ratio.value, 1.0);
}

TEST(Study, FindsWhatExplodesAtSomeTokensInTheMiddle) {
  const Plant plant{2, 40, {3, 4, 5, 6, 7, 8}, 0.8};
  const Condition found = study_of(plant);
  expect_found(found, plant);
  for (const Element& element : found.layers[2].elements) EXPECT_NE(element.position, 0);
  EXPECT_EQ(found.severity(), Severity::medium) << outcome(found, Kind::zero).ratio.value;
  const Outcome& zero = outcome(found, Kind::zero);
  EXPECT_EQ(outcome(found, Kind::clamp).changed, zero.changed);
  EXPECT_EQ(outcome(found, Kind::control).changed, zero.changed);
  // Cut to the border, it is over it again as soon as a layer adds a little.
  EXPECT_THAT(outcome(found, Kind::clamp).leaked_layers, ElementsAre(3));
  EXPECT_THAT(zero.leaked_layers, IsEmpty());
}

TEST(Study, OfAModelWithoutAnyGivesItsPerplexityAlone) {
  const Condition found = study_of({2, 40, {}, 1.0});
  EXPECT_FALSE(found.target);
  EXPECT_THAT(found.all_channels(), IsEmpty());
  ASSERT_EQ(found.outcomes.size(), 1U);
  EXPECT_EQ(found.outcomes[0].tokens, 8 * 36) << "all but each sequence's first";
  EXPECT_EQ(found.severity(), Severity::none);
}

TEST(Study, IsTheSameEachTime) {
  const Plant plant{0, 5, {kBos}, 1.0};
  const Condition once = study_of(plant);
  const Condition again = study_of(plant);
  for (std::size_t i = 0; i < once.outcomes.size(); ++i) {
    EXPECT_EQ(once.outcomes[i].perplexity.value, again.outcomes[i].perplexity.value);
    EXPECT_EQ(once.outcomes[i].ratio.low, again.outcomes[i].ratio.low);
  }
}

}  // namespace
}  // namespace headroom::study
