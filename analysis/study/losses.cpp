#include "analysis/study/losses.h"

#include <cmath>

#include "analysis/evaluation/row_scores.h"
#include "base/error.h"

namespace headroom::study {

std::vector<SequenceLoss> losses(decoder::Decoder& model, const decoder::States& features,
                                 const std::vector<const decoder::Sequence*>& sequences) {
  HEADROOM_CHECK(features.count() == sequences.size(), "{} sequences' features, {} sequences", features.count(),
                 sequences.size());
  std::vector<evaluation::RowScores::Target> targets;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    for (std::int64_t token = 1; token < features.length(i); ++token) {
      targets.push_back({features.start(i) + token - 1, (*sequences[i])[static_cast<std::size_t>(token)]});
    }
  }
  evaluation::RowScores scores(features.rows(), std::move(targets));
  model.each_logits(features, [&](const decoder::Decoder::LogitsBlock& block) { scores.take(block); });
  std::vector<SequenceLoss> all(sequences.size());
  std::size_t target = 0;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    all[i].tokens = features.length(i) - 1;
    for (std::int64_t token = 0; token < all[i].tokens; ++token) all[i].nll -= scores.score(target++).log_prob;
  }
  return all;
}

double perplexity(const std::vector<SequenceLoss>& losses) {
  double nll = 0.0;
  std::int64_t tokens = 0;
  for (const SequenceLoss& loss : losses) {
    nll += loss.nll;
    tokens += loss.tokens;
  }
  return std::exp(nll / static_cast<double>(tokens));
}

}  // namespace headroom::study
