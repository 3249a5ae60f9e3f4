// A run directory as the report reads it: its configuration, metrics and snapshots, each of which may be missing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "analysis/report/measures.h"
#include "analysis/report/metrics_log.h"
#include "analysis/snapshot_reader.h"

namespace headroom::report {

// What the report needs to know of a run's config; 0 or empty where the config does not say.
struct Facts {
  std::int64_t vocab_size = 0, hidden_size = 0, n_layers = 0, n_heads = 0, head_dim = 0, seq_len = 0;
  std::string norm, kv_bias;
  bool tvr = false, tvr_layer_scaled = false;
  double tvr_target = 0.0;
  std::string dtype, layout, commit, fingerprint, corpus, tokenizer;
  double parameters = 0.0;

  // What TVR shrinks layer `layer`'s matrices to (layers count from 0).
  double tvr_target_of(std::int64_t layer) const;
  bool has_bias_slot() const { return !kv_bias.empty() && kv_bias != "none"; }
  bool mitigated_by_design() const { return tvr || norm == "dyt" || has_bias_slot(); }
};

// What the report keeps of each snapshot; of the last one the whole file stays open.
struct HistoryPoint {
  std::filesystem::path file;
  std::int64_t step;
  double tokens;
  WeightStatistics weights;
  std::vector<SetMeasures> sets;
};

struct Run {
  std::filesystem::path directory;
  std::string name;
  std::string variant;
  std::string label;  // the variant, or the name where variants repeat: unique in a report
  Facts facts;
  std::optional<std::int64_t> seed;
  std::map<std::string, std::string> settings;  // every key of the config that computes but the seed, as text
  std::optional<MetricsLog> metrics;
  std::vector<HistoryPoint> history;  // rising steps; the last one is `last`'s
  std::optional<SnapshotReader> last;
  std::vector<std::string> remarks;          // what is missing or was left out
  std::vector<std::filesystem::path> files;  // everything read

  const SnapshotFile* snapshot() const { return last ? &last->contents() : nullptr; }
  // Of the last snapshot; empty without one.
  const std::vector<SetMeasures>& sets() const;
  double tokens_seen() const;  // by the metrics, else by the last snapshot; 0 when neither says
};

// Reads a run directory, its snapshots measured with these thresholds. Throws ExitCode::bad_data for a directory that
// is missing or holds neither metrics nor snapshots, ExitCode::bad_config for a config.toml that is no TOML,
// ExitCode::bad_checkpoint naming the file for a snapshot that is none.
Run read_run(const std::filesystem::path& directory, const Thresholds& thresholds);

}  // namespace headroom::report
