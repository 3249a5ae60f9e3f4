// Perplexity of a text: exp of the mean negative log-likelihood of the tokens that are scored.
//
//   sliding  The file is one text. Windows of `window` tokens begin every `stride` tokens; each scores the tokens that
//   no
//            window before it has scored, so every token but the first is scored once, by at least window - stride
//            tokens before it (those of the first window by what there is). With stride = window the first token of
//            each window has nothing before it and is not scored. These are the windows of Hugging Face's guide
//            "Perplexity of fixed-length models"; the guide weights a window's mean loss with its tokens minus one,
//            which is one too few where windows overlap. Here the count is exact.
//   packed   The file's documents (data/documents.h), each with BOS before it, are one stream, cut into windows of
//            `window` tokens and the next one, which is scored, too: each token but the stream's first is scored once,
//            BOS included. What the held-out loss of a training run is.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "analysis/evaluation/scorer.h"
#include "analysis/evaluation/text_encoding.h"

namespace headroom::evaluation {

enum class PerplexityKind : std::uint8_t { sliding, packed };

struct PerplexityOptions {
  PerplexityKind kind = PerplexityKind::sliding;
  std::int64_t window = 0;  // tokens, at least 2 (sliding) or 1 (packed)
  std::int64_t stride = 0;  // sliding only, from 1 to window
  std::int64_t limit = 0;   // windows; 0: all
};

struct PerplexityResult {
  std::int64_t windows = 0;
  std::int64_t documents = 0;  // 1 where sliding
  std::int64_t tokens = 0;     // in the whole file, special ones included
  std::int64_t scored = 0;
  std::int64_t text_bytes = 0;  // of the whole file's text
  // Of the scored tokens; in proportion to their number among the text's, where not all are scored.
  double scored_bytes = 0.0;
  double nll = 0.0;  // sum, nats

  double mean_nll() const { return nll / static_cast<double>(scored); }
  double perplexity() const { return std::exp(mean_nll()); }
  double bits_per_byte() const { return nll / std::log(2.0) / scored_bytes; }
};

// Throws ExitCode::bad_data for a file without text, or with too little to score a token.
PerplexityResult perplexity(const std::filesystem::path& file, const TextEncoding& encoding,
                            const PerplexityOptions& options, Scorer& scorer, const Scorer::Advance& advance);

// The windows of `count` tokens, as said above: the tokens [begin, end), scored from `first_scored` on.
struct Window {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t first_scored;
};
std::vector<Window> windows_of(std::int64_t count, const PerplexityOptions& options);

}  // namespace headroom::evaluation
