// Trains a campaign's runs on this machine: some at a time, each on cores of its own. The runs' scripts live in
// sessions of their own, so they outlive a driver that is killed; the next one finds them and waits for them.
#pragma once

#include <filesystem>
#include <functional>
#include <vector>

#include "campaign/directory.h"
#include "campaign/slots.h"
#include "campaign/status.h"

namespace headroom::campaign {

// Writes jobs/*.sh. Returns their paths.
std::vector<std::filesystem::path> write_local_scripts(const Campaign& campaign, const std::filesystem::path& program);

// Trains what waits, was lost or was stopped, on these slots; `show` is given the state of all runs at every change and
// once a second. Returns when nothing is left to do, or, after SIGINT or SIGTERM, when all runs have saved themselves:
// then true. A second signal leaves them to themselves. Throws ExitCode::busy where another driver does so already.
bool train_here(const Campaign& campaign, const std::filesystem::path& program, std::vector<Slot> slots,
                const std::function<void(const std::vector<RunStatus>&)>& show);

// Asks these runs to save and end. With the campaign's lock. Throws ExitCode::usage naming the host of one that does
// not run here, when all others are asked.
void stop_here(const Campaign& campaign, const std::vector<RunStatus>& runs);

}  // namespace headroom::campaign
