#include "analysis/evaluation/decoder_scorer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "analysis/evaluation/row_scores.h"
#include "base/error.h"

namespace headroom::evaluation {
namespace {

// What the model reads: all but the last token.
std::span<const std::int32_t> input_of(const Passage& passage) {
  return std::span(passage.tokens).first(passage.tokens.size() - 1);
}

bool begins_with(std::span<const std::int32_t> whole, std::span<const std::int32_t> beginning) {
  return whole.size() >= beginning.size() && std::equal(beginning.begin(), beginning.end(), whole.begin());
}

std::int64_t default_batch(const decoder::Config& config) {
  constexpr std::int64_t kBytes = std::int64_t{128} << 20;
  return std::clamp<std::int64_t>(kBytes / (config.hidden_size * 4), 2048, 32768);
}

std::uint64_t head_in_layers(const decoder::Config& config) {
  const std::int64_t attention = config.hidden_size * (2 * config.query_width() + 2 * config.kv_width());
  const std::int64_t mlp = config.hidden_size * config.ffn_size * (config.gated ? 3 : 2);
  const std::int64_t head = config.vocab_size * config.embedding_size;
  return static_cast<std::uint64_t>(std::max<std::int64_t>(1, head / std::max<std::int64_t>(1, attention + mlp)));
}

}  // namespace

// Passages that one input serves.
struct DecoderScorer::Group {
  std::span<const std::int32_t> input;
  std::vector<std::size_t> passages;
  std::size_t first_row = 0;  // the first that is scored

  std::size_t rows() const { return input.size() - first_row; }
};

DecoderScorer::DecoderScorer(decoder::Decoder& decoder, std::int64_t batch_tokens)
    : decoder_(decoder),
      batch_tokens_(batch_tokens > 0 ? batch_tokens : default_batch(decoder.config())),
      head_units_(head_in_layers(decoder.config())) {}

void DecoderScorer::score(std::span<const Passage> passages, const Take& take, const Advance& advance) {
  check_passages(passages);
  // In this order an input lies right behind those that begin with it.
  std::vector<std::size_t> order(passages.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const auto left = input_of(passages[a]);
    const auto right = input_of(passages[b]);
    return std::lexicographical_compare(left.begin(), left.end(), right.begin(), right.end());
  });
  std::reverse(order.begin(), order.end());
  std::vector<Group> groups;
  for (const std::size_t passage : order) {
    const auto input = input_of(passages[passage]);
    const std::size_t first = passages[passage].first - 1;
    if (groups.empty() || !begins_with(groups.back().input, input)) {
      groups.push_back({input, {passage}, first});
    } else {
      groups.back().passages.push_back(passage);
      groups.back().first_row = std::min(groups.back().first_row, first);
    }
  }
  // The longest first: what a batch takes, and what is left to do, is over- rather than underestimated.
  std::stable_sort(groups.begin(), groups.end(),
                   [](const Group& a, const Group& b) { return a.input.size() > b.input.size(); });
  const auto layers = static_cast<std::uint64_t>(decoder_.config().n_layers);
  std::uint64_t total = 0;
  for (const Group& group : groups) total += group.input.size() * layers + group.rows() * head_units_;
  std::uint64_t done = 0;
  const auto more = [&](std::uint64_t units) {
    done += units;
    if (advance) advance(done, total);
  };
  for (std::size_t first = 0; first < groups.size();) {
    std::size_t last = first + 1;
    std::size_t tokens = groups[first].input.size();
    while (last < groups.size() && tokens + groups[last].input.size() <= static_cast<std::size_t>(batch_tokens_)) {
      tokens += groups[last++].input.size();
    }
    score_batch(passages, std::span(groups).subspan(first, last - first), take, more);
    first = last;
  }
}

void DecoderScorer::score_batch(std::span<const Passage> passages, std::span<const Group> groups, const Take& take,
                                const std::function<void(std::uint64_t units)>& done) {
  const decoder::Config& config = decoder_.config();
  std::vector<decoder::Sequence> sequences;
  std::vector<std::int64_t> lengths;
  std::vector<RowScores::Target> targets;
  std::int64_t row = 0;
  for (const Group& group : groups) {
    sequences.emplace_back(group.input.begin(), group.input.end());
    lengths.push_back(static_cast<std::int64_t>(group.rows()));
    const std::size_t group_begin = targets.size();
    for (const std::size_t index : group.passages) {
      const Passage& passage = passages[index];
      for (std::size_t token = passage.first; token < passage.tokens.size(); ++token) {
        const std::int32_t id = passage.tokens[token];
        if (id < 0 || id >= config.vocab_size) {
          throw Error(ExitCode::bad_data, fmt::format("token id {} of a vocabulary of {}", id, config.vocab_size),
                      "Ids and model do not belong together.");
        }
        targets.push_back({row + static_cast<std::int64_t>(token - 1 - group.first_row), id});
      }
    }
    HEADROOM_CHECK(targets.size() > group_begin, "a group without targets");
    row += lengths.back();
  }
  // By row; and where each went, so that the passages find theirs again.
  std::vector<std::size_t> order(targets.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return targets[a].row < targets[b].row; });
  std::vector<RowScores::Target> by_row;
  std::vector<std::size_t> place(targets.size());
  for (const std::size_t target : order) {
    place[target] = by_row.size();
    by_row.push_back(targets[target]);
  }

  decoder::States states = decoder_.embed(sequences);
  for (std::int64_t layer = 0; layer < config.n_layers; ++layer) {
    decoder_.apply(layer, states, nullptr);
    done(static_cast<std::uint64_t>(states.rows()));
  }
  // Only what is scored goes through the head.
  decoder::States scored(lengths, states.width());
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const Tensor from = states.of(i).row_range(static_cast<std::int64_t>(groups[i].first_row), lengths[i]);
    std::memcpy(scored.of(i).raw(), from.raw(), static_cast<std::size_t>(from.bytes()));
  }
  states = decoder::States();
  const decoder::States features = decoder_.finish(scored, nullptr);
  RowScores rows(features.rows(), std::move(by_row));
  decoder_.each_logits(features, [&](const decoder::Decoder::LogitsBlock& block) { rows.take(block); });
  done(static_cast<std::uint64_t>(features.rows()) * head_units_);

  std::vector<TokenScore> scores;
  std::size_t next = 0;
  for (const Group& group : groups) {
    for (const std::size_t index : group.passages) {
      scores.clear();
      const Passage& passage = passages[index];
      for (std::size_t token = passage.first; token < passage.tokens.size(); ++token) {
        scores.push_back(rows.score(place[next++]));
        if (std::isfinite(scores.back().log_prob)) continue;
        throw Error(
            ExitCode::diverged,
            fmt::format("the log-probability of token {} after {} others is not finite", passage.tokens[token], token),
            "The model's weights are damaged, or its activations leave float32.");
      }
      take(index, scores);
    }
  }
}

}  // namespace headroom::evaluation
