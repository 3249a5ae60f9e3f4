// Findings about groups of runs that differ by their seed.
#pragma once

#include <string>
#include <vector>

#include "analysis/report/seeds.h"

namespace headroom::report {

// How far the groups' means lie apart; empty without seeds.
std::vector<std::string> across_groups(const Study& study, const SeedComparison& seeds);

// What sets the group apart from the baseline's, and what its seeds agree in; empty for a group of one run.
std::vector<std::string> group_findings(const Study& study, const SeedComparison& seeds, std::size_t group);

}  // namespace headroom::report
