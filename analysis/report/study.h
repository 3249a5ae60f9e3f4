// Everything the report is about: the runs, their measures, and what they are compared by.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "analysis/report/figure.h"
#include "analysis/report/measures.h"
#include "analysis/report/run.h"
#include "analysis/report/table.h"

namespace headroom::report {

struct Study {
  std::vector<Run> runs;
  std::vector<std::vector<SetMeasures>> sets;  // of each run's last snapshot; empty without one
  std::optional<std::size_t> baseline;
  Thresholds thresholds;
  std::vector<std::string> colors;  // "#rrggbb" a run; a variant keeps its colour from report to report
  double equal_tokens = 0.0;        // training tokens that every run with metrics has seen

  const SetMeasures* main(std::size_t run) const { return main_set(sets[run]); }
  bool has_bias_slot(std::size_t run) const { return has_bias_slot(runs[run]); }
  static bool has_bias_slot(const Run& run) { return !run.facts.kv_bias.empty() && run.facts.kv_bias != "none"; }
};

// Throws what read_runs throws.
Study make_study(const std::vector<std::filesystem::path>& directories, const Thresholds& thresholds);

// summary_tables.cpp, detail_tables.cpp: the first two are shown on the page, the others only in files.
Table summary_table(const Study& study);
Table scale_free_table(const Study& study);
std::vector<Table> detail_tables(const Study& study);

// One statement with the run it is about (-1: several).
struct Finding {
  int run = -1;
  std::string text;
};

// findings.cpp, scale_remarks.cpp
std::vector<Finding> findings(const Study& study);
// What these runs' scale can and cannot show (reference section 6), from their own numbers.
std::vector<Finding> scale_remarks(const Study& study);

// figures_*.cpp
Section magnitude_section(const Study& study);
Section training_section(const Study& study);
Section probe_section(const Study& study);
Section attention_section(const Study& study);
Section precision_section(const Study& study);
Section weights_section(const Study& study);

}  // namespace headroom::report
