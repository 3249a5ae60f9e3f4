// Trains a campaign's runs on this machine: some at a time, each on cores of its own. The runs' scripts live in
// sessions of their own, so they outlive a driver that is killed; the next one finds them and waits for them.
#pragma once

#include <filesystem>
#include <functional>
#include <vector>

#include "campaign/directory.h"
#include "campaign/status.h"

namespace headroom::campaign {

// The machine shared out: each slot trains one run at a time.
struct Slot {
  std::vector<int> cores;
  std::string core_list() const;  // "0,1,4": as taskset takes it
};

// As many slots as the resources ask for, or as there is room for; the cores shared out evenly, neighbours together.
std::vector<Slot> slots_of(const Resources& resources, const std::vector<int>& cores);

// Writes jobs/*.sh. Returns their paths.
std::vector<std::filesystem::path> write_local_scripts(const Campaign& campaign, const std::filesystem::path& program);

// Trains what waits, was lost or was stopped; `show` is given the state of all runs at every change and once a second.
// Returns when nothing is left to do, or, after SIGINT or SIGTERM, when all runs have saved themselves: then true.
// Throws ExitCode::busy where another driver does so already.
bool train_here(const Campaign& campaign, const std::filesystem::path& program,
                const std::function<void(const std::vector<RunStatus>&)>& show);

// Asks these runs to save and end. Throws ExitCode::usage naming the host of a run that does not run here.
void stop_here(const Campaign& campaign, const std::vector<RunStatus>& runs);

}  // namespace headroom::campaign
