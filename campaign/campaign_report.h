// One report over a campaign's runs.
#pragma once

#include <filesystem>
#include <vector>

#include "campaign/directory.h"
#include "campaign/status.h"

namespace headroom::campaign {

// Writes report/ over the runs that have trained at least a step, and returns its page. Runs that have not, or are not
// finished, are named on it. Throws ExitCode::bad_data where no run has trained, and as report::write_report does.
std::filesystem::path write_campaign_report(const Campaign& campaign, const std::vector<RunStatus>& runs);

}  // namespace headroom::campaign
