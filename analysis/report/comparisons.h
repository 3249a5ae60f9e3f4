// Findings about several runs: against the baseline, and over all of them.
#pragma once

#include <string>
#include <vector>

#include "analysis/report/study.h"

namespace headroom::report {

// What sets the run apart from the baseline, at the latest snapshots and the latest evaluation that both have after
// equally many training tokens; empty for the baseline and where nothing finite compares.
std::string comparison_finding(const Study& study, std::size_t run);

// Which runs have massive layers, and how far the runs lie apart; empty for a single run.
std::vector<std::string> across_runs(const Study& study);

}  // namespace headroom::report
