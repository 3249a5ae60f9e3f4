#include "trainer/transformer_scorer.h"

#include <algorithm>
#include <numeric>

#include "trainer/stop_request.h"

namespace headroom {

TransformerScorer::TransformerScorer(Transformer& model, std::int64_t micro_batch, const Mesh& mesh)
    : model_(model), micro_batch_(micro_batch), mesh_(mesh) {}

// Few shapes, since each has its memory cut and, on a GPU, its kernels chosen: powers of two, up to seq_len, with as
// many sequences as a pass was planned for. The rows divide by the tensor ranks.
TransformerScorer::Shape TransformerScorer::shape_for(std::int64_t longest) const {
  const std::int64_t most = model_.config().seq_len;
  const std::int64_t tensor = mesh_.tensor().size();
  for (std::int64_t seq = 16; seq < most; seq *= 2) {
    if (seq < longest) continue;
    std::int64_t batch = micro_batch_ * most / seq;
    while (batch > 0 && batch * seq % tensor != 0) --batch;
    if (batch > 0) return {batch, seq};
  }
  return {micro_batch_, most};
}

void TransformerScorer::score(std::span<const evaluation::Passage> passages, const Take& take, const Advance& advance) {
  evaluation::check_passages(passages);
  std::vector<std::size_t> order(passages.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return passages[a].tokens.size() > passages[b].tokens.size(); });
  // Where each passage's scores are in one list of all; a rank fills in those of its batches.
  std::vector<std::size_t> begins;
  std::size_t count = 0;
  for (const evaluation::Passage& passage : passages) {
    HEADROOM_CHECK(std::cmp_less_equal(passage.tokens.size(), model_.config().seq_len + 1),
                   "a passage of {} tokens for a model that reads {}", passage.tokens.size(), model_.config().seq_len);
    begins.push_back(count);
    count += passage.tokens.size() - passage.first;
  }
  std::vector<double> sums(2 * count, 0.0);
  const auto ranks = static_cast<std::size_t>(mesh_.data().size());
  const auto rank = static_cast<std::size_t>(mesh_.data().rank());
  stopped_ = false;
  std::size_t batches = 0;
  for (std::size_t first = 0; first < order.size(); ++batches) {
    if (batches % ranks == 0 && stop_agreed(mesh_.world())) {
      stopped_ = true;
      return;
    }
    const Shape shape = shape_for(static_cast<std::int64_t>(passages[order[first]].tokens.size()) - 1);
    const std::size_t last = std::min(order.size(), first + static_cast<std::size_t>(shape.batch));
    if (batches % ranks == rank) {
      const auto size = static_cast<std::size_t>(shape.batch * shape.seq);
      Batch batch{shape.batch, shape.seq, std::vector<std::int32_t>(size, 0), std::vector<std::int32_t>(size, -1)};
      for (std::size_t i = first; i < last; ++i) {
        const evaluation::Passage& passage = passages[order[i]];
        const std::size_t row = (i - first) * static_cast<std::size_t>(shape.seq);
        std::copy(passage.tokens.begin(), passage.tokens.end() - 1,
                  batch.ids.begin() + static_cast<std::ptrdiff_t>(row));
        for (std::size_t token = passage.first; token < passage.tokens.size(); ++token) {
          batch.targets[row + token - 1] = passage.tokens[token];
        }
      }
      const std::vector<TokenLoss> losses = model_.token_losses(batch);
      for (std::size_t i = first; i < last; ++i) {
        const evaluation::Passage& passage = passages[order[i]];
        const std::size_t row = (i - first) * static_cast<std::size_t>(shape.seq);
        for (std::size_t token = passage.first; token < passage.tokens.size(); ++token) {
          const TokenLoss& loss = losses[row + token - 1];
          const std::size_t place = begins[order[i]] + token - passage.first;
          sums[place] = -loss.nll;
          sums[count + place] = loss.is_argmax ? 1.0 : 0.0;
        }
      }
    }
    first = last;
    if (advance) advance(first, order.size());
  }
  mesh_.data().all_reduce(std::span<double>(sums), Reduction::sum);
  std::vector<evaluation::TokenScore> scores;
  for (std::size_t i = 0; i < passages.size(); ++i) {
    scores.clear();
    const std::size_t end = begins[i] + passages[i].tokens.size() - passages[i].first;
    for (std::size_t place = begins[i]; place < end; ++place) {
      scores.push_back({sums[place], sums[count + place] != 0.0});
    }
    take(i, scores);
  }
}

}  // namespace headroom
