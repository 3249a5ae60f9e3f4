// How probable a model finds texts, token by token: what perplexity and multiple-choice tasks are computed from,
// whatever the model runs on.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace headroom::evaluation {

// Tokens of which those from `first` on are scored, each by all before it: 1 <= first < tokens.size(). The last one is
// scored but never read, so a passage may have one token more than the model has positions.
struct Passage {
  std::vector<std::int32_t> tokens;
  std::size_t first = 1;
};

struct TokenScore {
  double log_prob = 0.0;   // natural logarithm of the token's probability, always finite
  bool is_argmax = false;  // no other token has a larger logit, none of a smaller id the same
};

class Scorer {
 public:
  // A passage by its place in the list, and the scores of its tokens from Passage::first on; valid during the call.
  using Take = std::function<void(std::size_t passage, std::span<const TokenScore> scores)>;
  // Work done so far, of `total`, in units of the scorer's own.
  using Advance = std::function<void(std::uint64_t done, std::uint64_t total)>;

  virtual ~Scorer() = default;

  // Each passage is taken once, in an order of the scorer's own. `advance` may be empty. Throws ExitCode::diverged
  // where a log-probability is not finite, ExitCode::bad_data for tokens that are none of the model's.
  virtual void score(std::span<const Passage> passages, const Take& take, const Advance& advance) = 0;
};

// A mistake of the caller's is ExitCode::internal.
void check_passages(std::span<const Passage> passages);

}  // namespace headroom::evaluation
