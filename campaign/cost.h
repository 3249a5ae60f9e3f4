// What a campaign's runs would cost, before anything is started: tokens, memory, time.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "campaign/runs.h"
#include "campaign/site.h"

namespace headroom::campaign {

// The share of a core's measured speed in matrix products that a step on the CPU is assumed to reach.
inline constexpr double kCpuShare = 0.5;

struct RunCost {
  double parameters = 0.0;
  double tokens = 0.0;
  double seconds = 0.0;       // of training, predicted
  double memory_bytes = 0.0;  // of a node
  double memory_limit = 0.0;  // of a node; 0: not known
};

struct CampaignCost {
  std::vector<RunCost> runs;  // in the order of the plan
  double tokens = 0.0;
  double node_hours = 0.0;
  double seconds = 0.0;  // of the campaign, with as many runs at a time as were asked for; 0 where that is not known,
                         // as a queue decides
  std::string basis;     // what the times are made of, for people
};

// Plans every run as training would, for the GPUs that the campaign names or for CPUs as fast as this machine's. Throws
// ExitCode::bad_config, ExitCode::bad_data or ExitCode::out_of_memory naming the run, for one that cannot be: sizes
// that do not divide, a corpus that cannot be opened, memory; and ExitCode::bad_config where the budget does not
// suffice.
CampaignCost cost_of(const Spec& spec, const std::vector<PlannedRun>& runs, const std::optional<Site>& site);

}  // namespace headroom::campaign
