// What `headroom campaign plan` prints.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "campaign/cost.h"

namespace headroom::campaign {

// The runs, a line a group of seeds, with their cost, and the campaign's together.
std::string plan_table(const Spec& spec, const std::optional<Site>& site, const std::vector<PlannedRun>& runs,
                       const CampaignCost& cost);

}  // namespace headroom::campaign
