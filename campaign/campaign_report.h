// One report over a campaign's runs.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "campaign/directory.h"

namespace headroom::campaign {

// Writes report/ over the runs that have trained at least a step, and returns its page; of the others
// `left_out` says, as the page does, which they are and what became of them ("tvr-seed2 has not trained a step: failed,
// exit code 3 (bad_config)"). Throws ExitCode::bad_data where no run has trained, and as report::write_report does.
std::filesystem::path write_campaign_report(const Campaign& campaign, std::vector<std::string>& left_out);

}  // namespace headroom::campaign
