// How fast the forward of a model is that verbs look at (trainer/open_model.h), against its own matrix products alone,
// and what a study's statistics of every layer cost beside it.
#pragma once

#include <nlohmann/json.hpp>

#include "model/decoder/decoder.h"

namespace headroom {

struct ModelBenchmarkSize {
  std::int64_t sequences = 16;
  std::int64_t tokens = 512;  // of each
  int rounds = 5;
};

// Times are medians over the rounds, one of each kind by turns.
struct ModelBenchmark {
  std::int64_t tokens = 0;       // of all sequences
  double forward_seconds = 0.0;  // from ids to the loss of every token
  double watched_seconds = 0.0;  // the same with a study's statistics of every layer and sequence
  double product_seconds = 0.0;  // the forward's matrix products alone, made again
  double statistics_share() const { return watched_seconds / forward_seconds - 1.0; }
  double to_products() const { return forward_seconds / product_seconds; }
};

// On random tokens, after a pass that does not count. Throws as the decoder does.
ModelBenchmark benchmark_model(decoder::Decoder& model, const ModelBenchmarkSize& size);

// The keys that bench/ reads: tokens_per_second, forward_seconds, watched_seconds, gemm_seconds, to_gemms,
// statistics_share.
nlohmann::ordered_json to_json(const ModelBenchmark& result);

}  // namespace headroom
