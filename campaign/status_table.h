// The state of a campaign as people and programs read it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "campaign/status.h"

namespace headroom::campaign {

// A line a run: state, step, loss, tokens/s, time left, largest max/median ratio of a layer, restarts, and why or
// where.
std::string status_table(const std::vector<RunStatus>& runs);

// "18 runs: 5 finished, 2 running, 11 waiting; about 12 min 30 s left". The time where the runs' pace tells it:
// `at_once` runs at a time, 0 where a queue decides.
std::string status_line(const std::vector<RunStatus>& runs, int at_once);

nlohmann::ordered_json status_json(const Campaign& campaign, const std::vector<RunStatus>& runs);

}  // namespace headroom::campaign
