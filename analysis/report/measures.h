// From a snapshot's statistics to the figures of the report's tables: the verdict of reference section 1, the
// scale-free companions and sink rates. docs/report.md says the same in words.
//
// What is not finite is never dropped: a NaN in a statistic makes every mean it enters NaN, a layer with a max or
// median that is not finite has no verdict, and the "largest" of several figures is one that is not finite, if there is
// one.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "analysis/report/unknown.h"
#include "analysis/snapshot_file.h"

namespace headroom::report {

struct Thresholds {
  double absolute = 100.0;  // max|h| > absolute
  double ratio = 1000.0;    // max|h| >= ratio * median|h|
  double sink = 0.3;        // mean attention to a key that makes it a sink
};

// Sequences of a snapshot that are averaged over together.
struct ProbeSet {
  std::string key;   // the same for the same set of another snapshot: kind, BOS and, of a sentence, its whole text
  std::string name;  // "calibration, BOS", "“Summer is warm.” without BOS"
  std::string text;  // a sentence's
  bool bos = false;
  bool sentence = false;
  std::vector<std::int64_t> sequences;
  std::int64_t tokens = 0;
};

// What one scale a tensor costs: shares of values that round to 0 when max|h| is scaled to a format's largest number.
// From the histogram; unknown for a max|h| that is not finite.
struct LostShares {
  double int8 = 0.0;  // to 127
  double e4m3 = 0.0;  // to 448
};

enum class Verdict : std::uint8_t { clean, massive, unknown };

// A layer's figures, each averaged over the set's sequences.
struct LayerMeasure {
  double max = 0.0, median = 0.0, rms = 0.0;
  double crest = 0.0;  // max|h| / rms(h)
  double kurtosis = 0.0, mmr_mean = 0.0, mmr_max = 0.0;
  double beyond_e4m3 = 0.0, beyond_e5m2 = 0.0, beyond_f16 = 0.0;
  LostShares lost;
  double top[3] = {0.0, 0.0, 0.0};
  Verdict verdict = Verdict::clean;  // unknown: max or median is not finite

  double ratio() const { return median > 0.0 ? max / median : kUnknown; }
};

// Shares of (layer, head, sequence) whose mean attention to the key exceeds the threshold, among the first kSinkTokens
// tokens. Sequences shorter than that are left out, unless none is longer: then all are rated over the tokens they
// have.
struct SinkRates {
  double first = kUnknown;
  double other = kUnknown;  // the largest over the keys 1 .. tokens / 2
  std::int64_t other_key = -1;
  double bias = kUnknown;      // the bias slot; unknown without one
  std::int64_t sequences = 0;  // rated
  std::int64_t tokens = 0;     // of the rated ones, at most; below kSinkTokens when none has that many
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
  std::vector<std::int64_t> massive_layers, unknown_layers;
  SinkRates sinks;
  Place peak;  // the largest |h| of all block outputs; the first that is not finite, if there is one

  const LayerMeasure& max() const { return layers[max_layer]; }
  const LayerMeasure& median() const { return layers[median_layer]; }
  const LayerMeasure& ratio() const { return layers[ratio_layer]; }
  Verdict verdict() const {
    return !massive_layers.empty() ? Verdict::massive : !unknown_layers.empty() ? Verdict::unknown : Verdict::clean;
  }
};

// Calibration with and without BOS first, then each sentence; sets without sequences are left out.
std::vector<ProbeSet> probe_sets(const SnapshotFile& snapshot);

SetMeasures measure(const SnapshotFile& snapshot, const ProbeSet& set, const Thresholds& thresholds);
// Of every set of probe_sets.
std::vector<SetMeasures> measure_all(const SnapshotFile& snapshot, const Thresholds& thresholds);

// What the report's main rows are about: calibration with BOS, else without, else the first sentence.
const SetMeasures* main_set(const std::vector<SetMeasures>& sets);
// Its counterpart without BOS: of the calibration sequences, or of the first sentence when that is the main set.
const SetMeasures* set_without_bos(const std::vector<SetMeasures>& sets);
// nullptr without it.
const SetMeasures* find_set(const std::vector<SetMeasures>& sets, const std::string& key);

// Mean over the set's sequences of an array [layers, S] of a site, or [L, S, H] of the attention.
double set_mean(const std::vector<float>& values, const SiteStatistics& site, std::int64_t layer, const ProbeSet& set);
double set_mean(const std::vector<float>& values, const AttentionStatistics& attention, std::int64_t layer,
                std::int64_t head, const ProbeSet& set);

LostShares lost_shares(const SiteStatistics& site, std::int64_t layer, const ProbeSet& set);

// Share of |h| below `limit` in one row of a histogram, bins cut by geometric interpolation.
double share_below(std::span<const std::int64_t> counts, const std::vector<double>& edges, double limit);

// Index of the largest value; of the first that is not finite, if there is one. `values` not empty.
std::size_t largest_of(std::span<const double> values);

}  // namespace headroom::report
