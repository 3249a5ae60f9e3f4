// One report over a campaign's runs.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "campaign/directory.h"

namespace headroom::campaign {

// Writes report/ over the runs that have trained at least a step, and returns its page; the others are in `left_out`.
// Reads files only. Throws ExitCode::bad_data where no run has trained, and as report::write_report does.
std::filesystem::path write_campaign_report(const Campaign& campaign, std::vector<std::string>& left_out);

}  // namespace headroom::campaign
