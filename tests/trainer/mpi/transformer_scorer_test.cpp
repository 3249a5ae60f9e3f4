// Scores by the model under training: those of the logits, whatever the layout, the micro-batch or the lengths.
#include "trainer/transformer_scorer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "tests/model/tiny_model.h"
#include "tests/mpi_world.h"

namespace headroom {
namespace {

using evaluation::Passage;
using evaluation::TokenScore;

ModelConfig config_of(std::int64_t seq_len) {
  ModelConfig config = tiny::config();
  config.seq_len = seq_len;
  return config;
}

std::unique_ptr<Transformer> model_on(const Mesh& mesh, const ModelConfig& config, std::int64_t micro_batch) {
  auto model = std::make_unique<Transformer>(config, mesh, TransformerOptions{.dtype = DType::f64, .loss_chunk = 7});
  model->plan(micro_batch, config.seq_len);
  model->parameters().initialize(7);
  return model;
}

std::vector<Passage> passages_of(const ModelConfig& config) {
  const RandomStream stream(3, "passages");
  std::vector<Passage> passages;
  for (std::uint64_t i = 0; i < 23; ++i) {
    const auto words = stream.bits(i);
    const std::size_t length = 2 + words[0] % static_cast<std::uint32_t>(config.seq_len);
    Passage passage{{}, 1 + words[1] % (length - 1)};
    for (std::size_t token = 0; token < length; ++token) {
      passage.tokens.push_back(static_cast<std::int32_t>(stream.bits(1000 * (i + 1) + token)[0] %
                                                         static_cast<std::uint32_t>(config.vocab_size)));
    }
    passages.push_back(passage);
  }
  return passages;
}

// By the logits of one passage after another, one rank.
std::vector<std::vector<TokenScore>> expected_of(const ModelConfig& config, std::vector<Passage>& passages) {
  const Mesh alone = Mesh::single();
  const auto model = model_on(alone, config, 1);
  const std::int64_t vocab = config.vocab_size;
  std::vector<std::vector<TokenScore>> expected;
  for (Passage& passage : passages) {
    const auto length = static_cast<std::int64_t>(passage.tokens.size()) - 1;
    const Batch batch{1,
                      length,
                      {passage.tokens.begin(), passage.tokens.end() - 1},
                      std::vector<std::int32_t>(static_cast<std::size_t>(length), 0)};
    std::vector<double> logits(static_cast<std::size_t>(length * vocab));
    model->logits(batch, Tensor::over(std::span<double>(logits), {length, vocab}));
    // Some tokens are made the argmax, so that this is tested, too; a token is no input of its own score.
    const double* last = logits.data() + (length - 1) * vocab;
    if (passage.tokens.size() % 2 == 0) {
      passage.tokens.back() = static_cast<std::int32_t>(std::max_element(last, last + vocab) - last);
    }
    expected.emplace_back();
    for (std::size_t token = passage.first; token < passage.tokens.size(); ++token) {
      const double* row = logits.data() + static_cast<std::int64_t>(token - 1) * vocab;
      const double* const largest = std::max_element(row, row + vocab);
      double sum = 0.0;
      for (std::int64_t id = 0; id < vocab; ++id) sum += std::exp(row[id] - *largest);
      expected.back().push_back(
          {row[passage.tokens[token]] - *largest - std::log(sum), largest - row == passage.tokens[token]});
    }
  }
  return expected;
}

TEST(TransformerScorer, GivesTheLogitsScoresAtEveryLayout) {
  const int ranks = test_runtime().world()->size();
  for (const std::int64_t seq_len : {10, 40}) {
    const ModelConfig config = config_of(seq_len);
    std::vector<Passage> passages = passages_of(config);
    const auto expected = expected_of(config, passages);
    for (int tensor = 1; tensor <= std::min(ranks, 2); ++tensor) {
      for (const std::int64_t micro_batch : {2, 6}) {
        SCOPED_TRACE(fmt::format("{} of {}x{}, micro-batch {}", seq_len, ranks / tensor, tensor, micro_batch));
        const Mesh mesh(test_runtime().world(), {ranks / tensor, tensor});
        const auto model = model_on(mesh, config, micro_batch);
        TransformerScorer scorer(*model, micro_batch, mesh);
        std::vector<int> taken(passages.size(), 0);
        std::size_t argmaxes = 0;
        scorer.score(passages,
                     [&](std::size_t passage, std::span<const TokenScore> scores) {
                       ++taken[passage];
                       ASSERT_EQ(scores.size(), expected[passage].size());
                       for (std::size_t i = 0; i < scores.size(); ++i) {
                         EXPECT_NEAR(scores[i].log_prob, expected[passage][i].log_prob, 1e-10) << passage << " " << i;
                         EXPECT_EQ(scores[i].is_argmax, expected[passage][i].is_argmax) << passage << " " << i;
                         argmaxes += scores[i].is_argmax ? 1 : 0;
                       }
                     },
                     {});
        EXPECT_FALSE(scorer.stopped());
        EXPECT_EQ(taken, std::vector<int>(passages.size(), 1));
        EXPECT_GT(argmaxes, 3U);
      }
    }
  }
}

}  // namespace
}  // namespace headroom
