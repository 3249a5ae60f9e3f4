// From a campaign file to its runs: every variant, with every combination of the axes, with every seed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "campaign/spec.h"
#include "trainer/config.h"

namespace headroom::campaign {

struct PlannedRun {
  std::string name;   // "tvr-lr0.002-seed1"
  std::string group;  // the name without the seed: the runs that a report takes together
  std::uint64_t seed = 0;
  RunConfig config;
};

// In the file's order, seeds fastest. The runs lie under `runs_dir`. Throws ExitCode::bad_config naming the variant or
// axis for configs that cannot be read or are refused, and for two runs that compute the same.
std::vector<PlannedRun> expand(const Spec& spec, const std::filesystem::path& runs_dir);

}  // namespace headroom::campaign
