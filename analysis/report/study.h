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
  std::optional<std::size_t> baseline;
  Thresholds thresholds;
  std::vector<std::string> colors;  // "#rrggbb" a run; a variant keeps its colour from report to report
  double equal_tokens = 0.0;        // training tokens that every run with steps has seen
  // The most training tokens at which every run that has evaluations has one; nullopt when they have none in common.
  std::optional<double> evaluated_tokens;

  // Of the run's last snapshot; empty, nullptr without one.
  const std::vector<SetMeasures>& sets(std::size_t run) const { return runs[run].sets(); }
  const SetMeasures* main(std::size_t run) const { return main_set(sets(run)); }
  const SetMeasures* without_bos(std::size_t run) const { return set_without_bos(sets(run)); }

  // The evaluation that stands for a run: at evaluated_tokens, else its last; nullptr without one.
  const EvalPoint* evaluation(std::size_t run) const;
  // The latest snapshots of the run and the baseline after equally many training tokens; nullopt without such, and for
  // the baseline itself.
  struct Pair {
    const HistoryPoint* own;
    const HistoryPoint* base;
  };
  std::optional<Pair> common_snapshots(std::size_t run) const;
};

// Throws what read_runs throws.
Study make_study(const std::vector<std::filesystem::path>& directories, const Thresholds& thresholds);

// summary_table.cpp, scale_free_table.cpp, place_tables.cpp: shown on the page, and written to files.
Table summary_table(const Study& study);
Table scale_free_table(const Study& study);
Table sentences_table(const Study& study);         // the published table's columns for each probe sentence
Table massive_elements_table(const Study& study);  // empty when nothing is massive
// detail_tables.cpp, training_tables.cpp: only written to files.
std::vector<Table> detail_tables(const Study& study);
std::vector<Table> training_tables(const Study& study);

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
