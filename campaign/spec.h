// A campaign file: one base config, the variants and seeds that are trained of it, what a run may use and where the
// report's thresholds lie. docs/campaigns.md describes it with examples.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace headroom::campaign {

// The line and column that something has in the file.
using FileOrder = std::pair<std::uint32_t, std::uint32_t>;

// The report's job, under jobs/ and in the journal beside the runs' groups.
inline constexpr const char* kReportName = "report";

// One row of the ablation.
struct Variant {
  std::string key;                    // its name in the file and in the runs' names
  std::filesystem::path config;       // in place of the base; empty: the base
  std::vector<std::string> settings;  // "optim.tvr.enabled=true"
  std::string place;                  // where the file has it
  FileOrder order;
};

// A config key that takes several values; runs are made of every combination.
struct Axis {
  std::string key;
  std::vector<std::string> values;  // TOML literals
  std::string place;
  FileOrder order;
};

// What one run gets.
struct Resources {
  int nodes = 1;
  int ranks_per_node = 1;
  int threads = 0;        // a rank; 0: the cores shared out
  int gpus_per_node = 0;  // 0: computed on CPUs
  std::string gpu = "h100-sxm";
  std::int64_t seconds = 24 * 3600;  // of one job on a cluster; a run that needs more is requeued
  std::int64_t warning = 300;        // seconds before the end at which ranks are told to save
  int memory_gb = 0;                 // of a node; 0: as the site gives
  int at_once = 0;                   // runs at a time here, seeds of a variant on a cluster; 0: as there is room

  int ranks() const { return nodes * ranks_per_node; }
};

// What the campaign may cost. 0: no limit.
struct Budget {
  double tokens = 0.0;      // of all runs
  double node_hours = 0.0;  // predicted, of all runs
  int restarts = 5;         // of one run, without a new checkpoint
};

struct ReportSettings {
  std::string title;
  double absolute = 100.0;
  double ratio = 1000.0;
  double sink = 0.3;
};

struct Spec {
  std::filesystem::path file;
  std::string text;  // the file's
  std::string name;
  std::filesystem::path base;
  std::vector<Variant> variants;
  std::vector<Axis> axes;
  std::vector<std::string> settings;  // of every run, over base and variant
  std::vector<std::uint64_t> seeds = {1};
  Resources resources;
  Budget budget;
  ReportSettings report;
};

// Reads a campaign file; paths in it are relative to it. Throws ExitCode::bad_config naming file, line and column for
// what is unknown (with a suggestion), missing or not allowed. The runs' configs are not read yet (campaign/runs.h).
Spec load_spec(const std::filesystem::path& file);

// Every key, for `headroom campaign --help`.
std::string describe_spec();

}  // namespace headroom::campaign
