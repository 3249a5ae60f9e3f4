// From a snapshot's statistics to the figures of the report's tables: the verdict of reference section 1, the
// scale-free companions, sink rates, and where the largest activations are. docs/report.md says the same in words.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analysis/report/run.h"

namespace headroom::report {

struct Thresholds {
  double absolute = 100.0;  // max|h| > absolute
  double ratio = 1000.0;    // max|h| >= ratio * median|h|
  double sink = 0.3;        // mean attention to a key that makes it a sink
  std::int64_t sink_tokens = 64;
};

// Sequences of a snapshot that are averaged over together.
struct ProbeSet {
  std::string name;  // "calibration, BOS", "sentence 0, no BOS"
  bool bos = false;
  bool sentence = false;
  std::vector<std::int64_t> sequences;
  std::int64_t tokens = 0;
};

// A layer's figures, each averaged over the set's sequences.
struct LayerMeasure {
  double max = 0.0, median = 0.0, rms = 0.0;
  double crest = 0.0;  // max|h| / rms(h)
  double kurtosis = 0.0, mmr_mean = 0.0, mmr_max = 0.0;
  double beyond_e4m3 = 0.0, beyond_e5m2 = 0.0, beyond_f16 = 0.0;
  double lost_int8 = 0.0;  // share of values that round to 0 when max|h| is scaled to 127
  double lost_e4m3 = 0.0;  // and to E4M3's 448; both from the histogram
  double top[3] = {0.0, 0.0, 0.0};
  bool massive = false;

  double ratio() const { return median > 0.0 ? max / median : kUnknown; }
};

// Shares of (layer, head, sequence) whose mean attention to the key exceeds the threshold.
struct SinkRates {
  double first = kUnknown;
  double other = kUnknown;  // the largest over the keys 1 .. n/2 of the first n tokens
  std::int64_t other_key = -1;
  double bias = kUnknown;  // the bias slot; unknown without a KV bias
};

// One activation.
struct Place {
  std::int64_t layer = -1, sequence = -1, token = -1, channel = -1;
  double value = 0.0;
};

struct SetMeasures {
  ProbeSet set;
  std::vector<LayerMeasure> layers;  // of block outputs
  std::size_t max_layer = 0, median_layer = 0, ratio_layer = 0, crest_layer = 0, kurtosis_layer = 0, mmr_layer = 0;
  std::vector<std::int64_t> massive_layers;
  SinkRates sinks;
  Place peak;  // the largest |h| of all block outputs

  const LayerMeasure& max() const { return layers[max_layer]; }
  const LayerMeasure& median() const { return layers[median_layer]; }
  const LayerMeasure& ratio() const { return layers[ratio_layer]; }
};

// A channel of one layer that is among the kept largest values of several sequences.
struct ChannelMeasure {
  std::int64_t channel = -1;
  std::int64_t sequences_in_top = 0;  // sequences with it among their K largest values
  std::int64_t sequences_as_largest = 0;
  double largest = 0.0;
};

// A site that adds to the residual stream, and what it adds to a place.
struct Writer {
  Site site = Site::embedding_output;
  std::int64_t layer = 0;
  double value = 0.0;
  bool exact = false;  // else the channel's largest |value| over all tokens: an upper bound
};

// Calibration with and without BOS first, then each sentence; sets without sequences are left out.
std::vector<ProbeSet> probe_sets(const SnapshotFile& snapshot);

SetMeasures measure(const SnapshotFile& snapshot, const ProbeSet& set, const Thresholds& thresholds, bool kv_bias);

// What the report's main rows are about: calibration with BOS, else without, else the first sentence.
const SetMeasures* main_set(const std::vector<SetMeasures>& sets);
const SetMeasures* set_without_bos(const std::vector<SetMeasures>& sets);

// Channels of block outputs at `layer`, by falling number of sequences they are largest in, then in the top of.
std::vector<ChannelMeasure> channels(const SnapshotFile& snapshot, const ProbeSet& set, std::int64_t layer);

// What the embedding and each attention and MLP output up to the place's layer add to it, largest first.
std::vector<Writer> writers(const SnapshotFile& snapshot, const Place& place);

// Share of |h| below `limit` in one row of a histogram, bins cut by geometric interpolation.
double share_below(std::span<const std::int64_t> counts, const std::vector<double>& edges, double limit);

// The token's piece as the snapshot's probe has it.
std::string piece_at(const SnapshotFile& snapshot, std::int64_t sequence, std::int64_t token);

}  // namespace headroom::report
