// Hands a campaign's runs to Slurm. Whatever happens to who calls it, a run is never handed over twice: submissions are
// written down before they are made (campaign/journal.h), and looked up in the queue where their outcome is not known.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "campaign/directory.h"
#include "campaign/status.h"

namespace headroom::campaign {

// Writes jobs/*.sbatch. Returns their paths, the report's last.
std::vector<std::filesystem::path> write_slurm_scripts(const Campaign& campaign, const std::filesystem::path& program);

// Submits the runs that wait, were lost or were stopped, of `only` these (empty: of all), and the report behind all
// that is in the queue; `say` is told each submission. Throws ExitCode::usage with sbatch's message where one is
// refused: what was submitted before stays so, and calling this again submits the rest.
void submit_to_slurm(const Campaign& campaign, const std::filesystem::path& program,
                     const std::vector<std::string>& only, const std::function<void(const std::string&)>& say);

// Throws ExitCode::bad_config for what sbatch would take and leave in the queue for ever, ExitCode::communication where
// the scheduler does not answer.
void refuse_what_the_partition_lacks(const Campaign& campaign);

// Throws ExitCode::bad_config where a run that waits or runs would get another config from under its job.
void refuse_changes_under_queued_runs(const Campaign& campaign, const std::vector<PlannedRun>& runs);

// Whether a report of the campaign waits or runs.
bool report_is_queued(const Campaign& campaign);

// Asks jobs to save and end, and takes the waiting ones out of the queue. With the campaign's lock.
void stop_on_slurm(const Campaign& campaign, const std::vector<RunStatus>& runs);

}  // namespace headroom::campaign
