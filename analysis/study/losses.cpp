#include "analysis/study/losses.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace headroom::study {
namespace {

// A row's log-sum-exp while its logits come piece by piece, and its target's logit.
struct Row {
  float largest = -std::numeric_limits<float>::infinity();
  double sum = 0.0;  // of exp(logit - largest)
  double target_logit = 0.0;
  std::int32_t target = -1;  // -1: the last token, which nothing follows

  void take(std::span<const float> logits, std::int64_t first_id) {
    const float most = *std::max_element(logits.begin(), logits.end());
    if (most > largest) {
      sum *= std::exp(static_cast<double>(largest) - static_cast<double>(most));
      largest = most;
    }
    double more = 0.0;
    for (const float logit : logits) more += static_cast<double>(std::exp(logit - largest));
    sum += more;
    const std::int64_t place = target - first_id;
    if (place >= 0 && place < std::ssize(logits)) target_logit = logits[static_cast<std::size_t>(place)];
  }
  double nll() const { return static_cast<double>(largest) + std::log(sum) - target_logit; }
};

}  // namespace

std::vector<SequenceLoss> losses(decoder::Decoder& model, const decoder::States& features,
                                 const std::vector<const decoder::Sequence*>& sequences) {
  HEADROOM_CHECK(features.count() == sequences.size(), "{} sequences' features, {} sequences", features.count(),
                 sequences.size());
  std::vector<Row> rows(static_cast<std::size_t>(features.rows()));
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    for (std::int64_t token = 1; token < features.length(i); ++token) {
      rows[static_cast<std::size_t>(features.start(i) + token - 1)].target =
          (*sequences[i])[static_cast<std::size_t>(token)];
    }
  }
  model.each_logits(features, [&](const decoder::Decoder::LogitsBlock& block) {
    const auto ids = static_cast<std::size_t>(block.logits.columns());
    const float* logits = block.logits.data<float>();
#pragma omp parallel for schedule(static)
    for (std::int64_t row = 0; row < block.logits.rows(); ++row) {
      Row& own = rows[static_cast<std::size_t>(block.first_row + row)];
      if (own.target >= 0) own.take({logits + static_cast<std::size_t>(row) * ids, ids}, block.first_id);
    }
  });
  std::vector<SequenceLoss> all(sequences.size());
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    for (std::int64_t token = 0; token + 1 < features.length(i); ++token) {
      all[i].nll += rows[static_cast<std::size_t>(features.start(i) + token)].nll();
      ++all[i].tokens;
    }
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
