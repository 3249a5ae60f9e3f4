// Reading token by token with cached keys and values against whole forward passes, for checkpoints of every family; the
// choice of tokens against the probabilities that it should have.
#include "model/decoder/generation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "base/hdf5.h"
#include "base/random.h"
#include "model/decoder/kept_weights.h"
#include "model/decoder/rope.h"
#include "model/huggingface/safetensors_writer.h"
#include "model/huggingface/source.h"
#include "tests/distance.h"
#include "tests/scratch.h"
#include "tests/source_dir.h"

namespace headroom::decoder {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> checkpoints() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(fs::path(test::source_dir()) / "tests/fixtures/hf")) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// All logits of a sequence, by one pass.
std::vector<float> whole_pass(Decoder& model, const Sequence& sequence) {
  States states = model.embed({&sequence, 1});
  for (std::int64_t layer = 0; layer < model.config().n_layers; ++layer) model.apply(layer, states, nullptr);
  std::vector<float> all(sequence.size() * static_cast<std::size_t>(model.config().vocab_size));
  model.each_logits(model.finish(states, nullptr), [&](const Decoder::LogitsBlock& block) {
    for (std::int64_t row = 0; row < block.logits.rows(); ++row) {
      std::copy_n(block.logits.data<float>() + row * block.logits.columns(), block.logits.columns(),
                  all.data() + (block.first_row + row) * model.config().vocab_size + block.first_id);
    }
  });
  return all;
}

// Whether the first tokens of a sequence have the angles in it that they have alone.
bool same_angles(const Config& config, std::size_t first, std::size_t length) {
  return std::all_of(config.ropes.begin(), config.ropes.end(), [&](const Rope& rope) {
    return has_long_angles(rope, static_cast<std::int64_t>(first)) ==
           has_long_angles(rope, static_cast<std::int64_t>(length));
  });
}

class Generation : public testing::TestWithParam<std::string> {
 protected:
  fs::path directory() const { return fs::path(test::source_dir()) / "tests/fixtures/hf" / GetParam(); }
  std::unique_ptr<WeightSource> weights() const { return huggingface::open_checkpoint(directory()).weights; }

  Config config_ = huggingface::read_config(directory());
};

TEST_P(Generation, CachedKeysGiveTheLogitsOfAWholePass) {
  const H5File reference = H5File::open(directory() / "reference.h5");
  const auto ids = reference.read<std::int32_t>("ids");
  const auto length = static_cast<std::size_t>(ids.dims[1]);
  const Sequence sequence(ids.values.begin(), ids.values.begin() + static_cast<std::ptrdiff_t>(length));
  const auto logits = reference.read<float>("logits");
  Decoder model(config_, weights());
  const auto vocab = static_cast<std::size_t>(config_.vocab_size);
  // In steps of one, in uneven ones, and at once.
  for (const std::vector<std::size_t>& steps : {std::vector<std::size_t>{1}, {3, 1, 2}, {length}}) {
    Reader reader(model, static_cast<std::int64_t>(length));
    for (std::size_t at = 0, turn = 0; at < length; ++turn) {
      const std::size_t step = std::min(steps[turn % steps.size()], length - at);
      const std::span<const float> read = reader.read(std::span(sequence).subspan(at, step));
      at += step;
      const std::vector<float> whole =
          whole_pass(model, Sequence(sequence.begin(), sequence.begin() + static_cast<std::ptrdiff_t>(at)));
      EXPECT_LT(test::relative_distance(read, std::span(whole).last(vocab)), 1e-5) << "token " << at;
      if (!same_angles(config_, at, length)) continue;
      EXPECT_LT(test::relative_distance(read, std::span(logits.values).subspan((at - 1) * vocab, vocab)), 1e-5)
          << "token " << at;
    }
    EXPECT_EQ(reader.length(), static_cast<std::int64_t>(length));
  }
}

TEST_P(Generation, GreedyTokensAreThoseOfWholePasses) {
  Decoder model(config_, weights());
  const Sequence prompt = {3, 1, 4};
  GenerationOptions options;
  options.max_tokens = 12;
  options.sampling.temperature = 0.0;
  Sequence expected = prompt;
  const auto most = config_.learned_positions ? std::min<std::int64_t>(15, config_.max_positions) : std::int64_t{15};
  while (static_cast<std::int64_t>(expected.size()) < most) {
    const std::vector<float> logits = whole_pass(model, expected);
    expected.push_back(
        choose_token(std::span(logits).last(static_cast<std::size_t>(config_.vocab_size)), options.sampling, 0));
  }
  std::vector<std::int32_t> heard;
  const auto tokens = generate(model, prompt, options, [&](std::int32_t token) { heard.push_back(token); });
  EXPECT_EQ(tokens, Sequence(expected.begin() + 3, expected.end()));
  EXPECT_EQ(heard, tokens);
  // With all weights kept, and with some.
  for (const std::int64_t limit : {std::int64_t{1} << 30, std::int64_t{100'000}}) {
    Decoder kept(config_, keep_weights(weights(), config_, limit));
    EXPECT_EQ(generate(kept, prompt, options, [](std::int32_t) {}), tokens) << limit;
  }
  // Up to a token that ends the text.
  options.ends = {tokens[2], -1};
  const auto first = std::find(tokens.begin(), tokens.end(), tokens[2]);
  EXPECT_EQ(generate(model, prompt, options, [](std::int32_t) {}), Sequence(tokens.begin(), first));
}

INSTANTIATE_TEST_SUITE_P(OfEveryFamily, Generation, testing::ValuesIn(checkpoints()),
                         [](const auto& instance) { return instance.param; });

// A source that counts how often it is asked for what.
class CountingWeights final : public WeightSource {
 public:
  CountingWeights(std::unique_ptr<WeightSource> source, std::map<std::int64_t, int>& layers)
      : source_(std::move(source)), layers_(layers) {}
  const OuterWeights& outer() override { return source_->outer(); }
  void embed(std::span<const std::int32_t> ids, Tensor y) override { source_->embed(ids, y); }
  const LayerWeights& layer(std::int64_t number) override {
    ++layers_[number];
    return source_->layer(number);
  }
  Tensor head(std::int64_t first, std::int64_t count) override {
    ++layers_[-1];
    return source_->head(first, count);
  }
  bool stays(const Tensor& tensor) const override { return source_->stays(tensor); }

 private:
  std::unique_ptr<WeightSource> source_;
  std::map<std::int64_t, int>& layers_;
};

TEST(KeptWeights, AreAskedForOnceWhereThereIsRoom) {
  const fs::path directory = fs::path(test::source_dir()) / "tests/fixtures/hf/llama_2";
  const Config config = huggingface::read_config(directory);
  GenerationOptions options;
  options.max_tokens = 5;
  for (const bool room : {true, false}) {
    std::map<std::int64_t, int> asked;
    auto counting = std::make_unique<CountingWeights>(huggingface::open_checkpoint(directory).weights, asked);
    Decoder model(config, keep_weights(std::move(counting), config, room ? std::int64_t{1} << 30 : 0));
    generate(model, {1, 2}, options, [](std::int32_t) {});
    for (std::int64_t layer = -1; layer < config.n_layers; ++layer) EXPECT_EQ(asked[layer], room ? 1 : 5) << layer;
  }
}

// f32 in our order of rows is used where it lies in the file, whatever the limit.
TEST(KeptWeights, CopiesNothingThatStaysInItsFile) {
  const fs::path directory = fs::path(test::source_dir()) / "tests/fixtures/hf/gpt2_base";
  huggingface::Checkpoint checkpoint = huggingface::open_checkpoint(directory);
  std::map<std::int64_t, int> asked;
  WeightSource& source = *checkpoint.weights;
  const float* const first = source.layer(0).qkv.weight.data<float>();
  const float* const head = source.head(0, 1).data<float>();
  auto counting = std::make_unique<CountingWeights>(std::move(checkpoint.weights), asked);
  const auto kept = keep_weights(std::move(counting), checkpoint.config, 0);
  for (int time = 0; time < 3; ++time) {
    EXPECT_EQ(kept->layer(0).qkv.weight.data<float>(), first);
    EXPECT_EQ(kept->head(0, 1).data<float>(), head);
  }
  EXPECT_EQ(asked[0], 1);
}

// ---- our own models, with a slot beside the keys ----

// A directory as `headroom convert` writes it, with random weights.
void write_own(const fs::path& directory, const std::string& kv_bias) {
  std::ofstream(directory / "config.json")
      << R"({"model_type": "headroom", "vocab_size": 31, "hidden_size": 12, "num_hidden_layers": 2,
             "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "intermediate_size": 10,
             "max_position_embeddings": 16, "norm": "rms", "positions": "rotary", "rope_theta": 100.0,
             "activation": "gelu", "kv_bias": ")"
      << kv_bias << "\"}";
  std::vector<huggingface::TensorShape> tensors = {{"model.embedding.weight", {31, 12}}};
  for (const char* layer : {"model.layers.0.", "model.layers.1."}) {
    const auto add = [&](const char* name, std::vector<std::int64_t> shape) {
      tensors.push_back({std::string(layer) + name, std::move(shape)});
    };
    add("attention_norm.weight", {12});
    add("attention.q.weight", {24, 12});
    add("attention.k.weight", {12, 12});
    add("attention.v.weight", {12, 12});
    add("attention.bias_key", {2, 6});
    if (kv_bias == "kv") add("attention.bias_value", {2, 6});
    add("attention.o.weight", {12, 24});
    add("mlp_norm.weight", {12});
    add("mlp.up.weight", {10, 12});
    add("mlp.down.weight", {12, 10});
  }
  tensors.push_back({"model.final_norm.weight", {12}});
  tensors.push_back({"lm_head.weight", {31, 12}});
  huggingface::CheckpointWriter writer(directory, huggingface::StoredType::f32, tensors, 1 << 30);
  for (const huggingface::TensorShape& tensor : tensors) {
    const RandomStream random(1, tensor.name);
    std::vector<float> numbers(static_cast<std::size_t>(tensor.elements()));
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(0.5 * random.normal(i));
    writer.write(numbers);
  }
  writer.close();
}

TEST(KvBias, GoesBesideCachedKeys) {
  std::vector<std::vector<float>> results;
  for (const char* kv_bias : {"kv", "k"}) {
    SCOPED_TRACE(kv_bias);
    const test::Scratch here;
    write_own(here.path(), kv_bias);
    huggingface::Checkpoint checkpoint = huggingface::open_checkpoint(here.path());
    Decoder model(checkpoint.config, std::move(checkpoint.weights));
    const Sequence sequence = {3, 1, 4, 1, 5, 9, 2, 6};
    results.push_back(whole_pass(model, sequence));
    const auto vocab = static_cast<std::size_t>(model.config().vocab_size);
    Reader reader(model, std::ssize(sequence));
    for (std::size_t at = 0; at < sequence.size(); ++at) {
      const std::span<const float> read = reader.read(std::span(sequence).subspan(at, 1));
      EXPECT_LT(test::relative_distance(read, std::span(results.back()).subspan(at * vocab, vocab)), 1e-5)
          << "token " << at;
    }
  }
  EXPECT_GT(test::relative_distance(results[0], results[1]), 1e-2);  // the slot counts
}

// ---- choosing ----

const std::vector<float> kLogits = {1.0F, 3.0F, -2.0F, 2.5F, 0.0F, 2.5F};

// How often each token is chosen, of so many positions, must be what `expected` says to 5 standard deviations.
void expect_shares(const Sampling& sampling, std::vector<double> expected) {
  constexpr std::int64_t kDraws = 40'000;
  double sum = 0.0;
  for (const double share : expected) sum += share;
  std::vector<std::int64_t> counts(kLogits.size());
  for (std::int64_t i = 0; i < kDraws; ++i) ++counts[static_cast<std::size_t>(choose_token(kLogits, sampling, i))];
  for (std::size_t id = 0; id < counts.size(); ++id) {
    const double share = expected[id] / sum;
    const double deviation = std::sqrt(share * (1.0 - share) / kDraws);
    EXPECT_NEAR(static_cast<double>(counts[id]) / kDraws, share, 5.0 * deviation) << id;
  }
}

// exp(logit / temperature) of the ids that stay, 0 of the others.
std::vector<double> shares(double temperature, const std::vector<std::size_t>& stay) {
  std::vector<double> all(kLogits.size(), 0.0);
  for (const std::size_t id : stay) all[id] = std::exp(double{kLogits[id]} / temperature);
  return all;
}

TEST(ChooseToken, DrawsByProbability) {
  expect_shares({}, shares(1.0, {0, 1, 2, 3, 4, 5}));
  expect_shares({.temperature = 0.5}, shares(0.5, {0, 1, 2, 3, 4, 5}));
  expect_shares({.temperature = 3.0, .seed = 9}, shares(3.0, {0, 1, 2, 3, 4, 5}));
}

TEST(ChooseToken, TopKKeepsTheLargestTheLowerIdFirstOfEquals) {
  expect_shares({.top_k = 1}, shares(1.0, {1}));
  expect_shares({.top_k = 2}, shares(1.0, {1, 3}));
  expect_shares({.temperature = 2.0, .top_k = 4}, shares(2.0, {1, 3, 5, 0}));
  expect_shares({.top_k = 100}, shares(1.0, {0, 1, 2, 3, 4, 5}));
}

TEST(ChooseToken, TopPKeepsTheFewestThatReachIt) {
  // Probabilities: 1: 0.42, 3 and 5: 0.256 each, 0: 0.057, 4: 0.021, 2: 0.003.
  expect_shares({.top_p = 0.01}, shares(1.0, {1}));
  expect_shares({.top_p = 0.5}, shares(1.0, {1, 3}));
  expect_shares({.top_p = 0.9}, shares(1.0, {1, 3, 5}));
  expect_shares({.top_p = 0.97}, shares(1.0, {1, 3, 5, 0}));
  // Of what top_k leaves: 1: 0.62, 3: 0.38.
  expect_shares({.top_k = 2, .top_p = 0.6}, shares(1.0, {1}));
  expect_shares({.top_k = 2, .top_p = 0.7}, shares(1.0, {1, 3}));
}

TEST(ChooseToken, IsAFunctionOfSeedAndPosition) {
  std::vector<std::int32_t> first;
  std::vector<std::int32_t> other;
  for (std::int64_t i = 0; i < 100; ++i) {
    first.push_back(choose_token(kLogits, {.seed = 1}, i));
    EXPECT_EQ(choose_token(kLogits, {.seed = 1}, i), first.back());
    other.push_back(choose_token(kLogits, {.seed = 2}, i));
  }
  EXPECT_NE(first, other);
}

TEST(ChooseToken, TemperatureZeroTakesTheFirstLargestAndWhatIsNotFiniteIsRefused) {
  EXPECT_EQ(choose_token(kLogits, {.temperature = 0.0}, 7), 1);
  EXPECT_EQ(choose_token(std::vector<float>{2.0F, 5.0F, 5.0F}, {.temperature = 0.0}, 0), 1);
  for (const float wrong : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
    EXPECT_THROW(choose_token(std::vector<float>{2.0F, wrong, 5.0F}, {}, 0), Error) << wrong;
  }
}

}  // namespace
}  // namespace headroom::decoder
