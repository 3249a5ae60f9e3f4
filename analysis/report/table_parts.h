// Cells and words that several tables are made of.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "analysis/report/study.h"

namespace headroom::report {

using Row = std::vector<Cell>;

// A column that only files have.
Column plain(std::string key, std::string help);

Cell missing();

// The run's label in its colour; with its directory's name below where that is another.
Cell run_cell(const Study& study, std::size_t run, bool with_name);

// A measured figure: one that is not finite says so and is null in files. `note` and, where the base is finite, the
// change from it are shown below.
Cell figure_cell(double value, const std::string& note, double base = kUnknown);

Cell share_cell(double value, std::string note = {});

std::string layer_note(std::size_t layer);

// What the main sets of the runs are: "calibration, BOS", or several names joined by " / ".
std::string main_words(const Study& study);
// The same of their counterparts without BOS; empty when no run has one.
std::string without_bos_words(const Study& study);

// The baseline's figure of its main set, to hold the run's own against; unknown unless both last snapshots were taken
// after equally many training tokens and look at the same set.
double base_figure(const Study& study, std::size_t run, const std::function<double(const SetMeasures&)>& figure);

}  // namespace headroom::report
