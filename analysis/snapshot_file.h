// A snapshot in memory: what docs/snapshot-format.md describes, as plain arrays. The writer fills one, the reader
// returns one; raw hidden states and attention maps stay in the file until asked for (analysis/snapshot_reader.h).
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "analysis/attention_probe.h"
#include "model/tap.h"

namespace headroom {

// Where a snapshot comes from; all of it lands in the file.
struct SnapshotProvenance {
  std::int64_t step = 0;
  std::int64_t tokens_seen = 0;
  std::string run;
  std::string variant;
  std::string config;  // the resolved TOML
  std::string config_fingerprint;
  std::string commit;
  std::string layout;  // "2x1": data x tensor
  std::string dtype;
  std::string libraries;
  std::string tokenizer_fingerprint;
  std::string corpus_fingerprint;
};

struct SnapshotDims {
  std::int64_t layers = 0;     // L
  std::int64_t sequences = 0;  // S
  std::int64_t tokens = 0;     // T, the longest sequence
  std::int64_t hidden = 0;     // d
  std::int64_t heads = 0;      // H
  std::int64_t top_k = 0;      // K
  std::int64_t bins = 0;       // B

  std::int64_t sink_keys() const { return std::min(tokens, kSinkTokens); }  // W
};

// One site's statistics: arrays [layers, S, ...] flat, row-major.
struct SiteStatistics {
  std::int64_t layers = 0;  // L, or 1 for embedding_output and final_norm_output
  std::int64_t sequences = 0;

  // [layers, S]
  std::vector<float> max_abs, median_abs, rms, mean, std, kurtosis, mmr_mean, mmr_max;
  std::vector<float> beyond_e4m3, beyond_e5m2, beyond_f16;
  std::vector<std::int64_t> nonfinite;
  // [layers, S, K]
  std::vector<float> top_values;
  std::vector<std::int32_t> top_token, top_channel;
  // [layers, S, d]
  std::vector<float> channel_max;
  // [layers, S, T]
  std::vector<float> token_max, token_median, token_rms;
  // [layers, S, B], edges [B + 1]
  std::vector<std::int64_t> histogram;
  std::vector<double> edges;

  std::size_t at(std::int64_t layer, std::int64_t sequence) const {
    return static_cast<std::size_t>(layer * sequences + sequence);
  }
  // The row of a three-dimensional array: row(s.top_values, layer, sequence) has K values.
  template <class T>
  std::span<const T> row(const std::vector<T>& values, std::int64_t layer, std::int64_t sequence) const {
    const std::size_t width = values.size() / static_cast<std::size_t>(layers * sequences);
    return {values.data() + at(layer, sequence) * width, width};
  }
};

// Attention's mass by key class: arrays [L, S, H], [L, S, H, T] and, of the first W = min(T, kSinkTokens) queries
// alone, [L, S, H, W].
struct AttentionStatistics {
  std::int64_t sequences = 0;
  std::int64_t heads = 0;
  std::vector<float> mass_first, mass_bias, mass_rest, bias_mass;
  std::vector<float> key_mass;
  std::vector<float> sink_mass, sink_bias;  // [L, S, H, W] and [L, S, H]

  std::size_t at(std::int64_t layer, std::int64_t sequence, std::int64_t head) const {
    return static_cast<std::size_t>((layer * sequences + sequence) * heads + head);
  }
};

struct WeightStatistics {
  std::vector<std::string> names;
  std::vector<std::int32_t> layer;  // -1 outside the blocks
  std::vector<float> mean, std, max_abs;
};

// The probe as the file tells it; arrays [S] and [S, T].
struct ProbeRecord {
  std::vector<std::int32_t> ids;  // -1 after the end
  std::vector<std::int32_t> lengths;
  std::vector<std::uint8_t> bos;
  std::vector<std::string> kind;  // "sentence" or "calibration"
  std::vector<std::string> text;
  std::vector<std::string> pieces;
  std::string notes;  // what the probe set could not have and why, one a line

  std::int64_t length_of(std::int64_t sequence) const { return lengths.at(static_cast<std::size_t>(sequence)); }
};

struct SnapshotFile {
  SnapshotProvenance provenance;
  std::string created;   // UTC, ISO 8601
  double seconds = 0.0;  // what taking the snapshot cost up to writing
  SnapshotDims dims;
  ProbeRecord probe;
  std::map<Site, SiteStatistics> sites;
  AttentionStatistics attention;
  WeightStatistics weights;
};

}  // namespace headroom
