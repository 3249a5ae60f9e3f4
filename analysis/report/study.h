// Everything the report is about: the runs, their measures, and what they are compared by.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "analysis/report/figure.h"
#include "analysis/report/groups.h"
#include "analysis/report/measures.h"
#include "analysis/report/run.h"
#include "analysis/report/table.h"

namespace headroom::report {

struct Study {
  std::vector<Run> runs;      // a group's side by side, by rising seed
  std::vector<Group> groups;  // one a run where no run is repeated with another seed
  // What the others are compared with: the only group whose variant is "baseline", else the only one of several
  // seeds among these, else the only one without any mitigation; nullopt when there is none or it is the only one.
  std::optional<std::size_t> baseline_group;
  std::optional<std::size_t> baseline;  // its run; nullopt with seeds, when only groups are compared
  Thresholds thresholds;
  std::vector<std::string> colors;  // "#rrggbb" a run; a variant keeps its colour from report to report
  // Training tokens that every run with steps has seen; here and below runs that ended early do not count.
  double equal_tokens = 0.0;
  // The most training tokens at which every run that has evaluations has one; nullopt when they have none in common.
  std::optional<double> evaluated_tokens;
  // The same of snapshots.
  std::optional<double> snapshot_tokens;

  // Whether some run is repeated with another seed: then groups are compared, not runs.
  bool has_seeds() const;
  const Group& group_of(std::size_t run) const;
  // Whether the run saw fewer training tokens than one that differs by its seed only.
  bool ended_early(std::size_t run) const;
  // The runs that figures with a panel a run show: all, or with seeds the first with a snapshot of each group.
  std::vector<std::size_t> shown_runs() const;
  // Their labels, a group's where all of its runs are among them: "baseline, TVR (seed 2)".
  std::vector<std::string> names(const std::vector<std::size_t>& of_runs) const;

  // Of the run's last snapshot; empty, nullptr without one.
  const std::vector<SetMeasures>& sets(std::size_t run) const { return runs[run].sets(); }
  const SetMeasures* main(std::size_t run) const { return main_set(sets(run)); }
  const SetMeasures* without_bos(std::size_t run) const { return set_without_bos(sets(run)); }

  // The evaluation that stands for a run: at evaluated_tokens, else its last; nullptr without one.
  const EvalPoint* evaluation(std::size_t run) const;
  // Mean of the last twentieth of the steps up to equal_tokens; unknown for a run that did not get there.
  double training_loss(std::size_t run) const;
  // The latest snapshots of the run and the baseline after equally many training tokens; nullopt without such, and for
  // the baseline itself.
  struct Pair {
    const HistoryPoint* own;
    const HistoryPoint* base;
  };
  std::optional<Pair> common_snapshots(std::size_t run) const;
};

// Reads the runs, finds what they are compared by and gives each its label. The runs' order is kept, but a group's
// come together and the baseline's first. Throws what read_run throws.
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
  bool over_seeds = false;  // about the run's whole group
};

struct SeedComparison;  // seeds.h

// findings.cpp, scale_remarks.cpp
std::vector<Finding> findings(const Study& study, const SeedComparison& seeds);
// What these runs' scale can and cannot show (reference section 6), from their own numbers.
std::vector<Finding> scale_remarks(const Study& study, const SeedComparison& seeds);

// figures_*.cpp
Section magnitude_section(const Study& study);
Section training_section(const Study& study);
Section probe_section(const Study& study);
Section attention_section(const Study& study);
Section precision_section(const Study& study);
Section weights_section(const Study& study);

}  // namespace headroom::report
