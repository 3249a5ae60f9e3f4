// Runs that repeat each other with another seed. What a variant does shows over them; what one run does may be chance.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "analysis/report/run.h"

namespace headroom::report {

// The same run with one seed or several.
struct Group {
  std::string label;              // unique in a report: the variant, with what sets it apart from others of the variant
  std::vector<std::size_t> runs;  // by rising seed

  bool repeated() const { return runs.size() > 1; }
};

// Whether a key of config.toml influences what a run computes. The trainer's table says the same of the keys it knows
// (a test holds them against each other); a key that is not known counts as computing.
bool computes(std::string_view key);

// Every run belongs to one group: with others of the same variant, the same computing keys but for the seed, and the
// same corpus as far as that is known. A run whose config names no seed, or a seed that its group has already, stands
// alone, the latter with a remark. Groups are in the order of their first runs. Without repeats the labels are empty.
std::vector<Group> group_by_seed(std::vector<Run>& runs);

}  // namespace headroom::report
