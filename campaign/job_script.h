// The scripts that train a campaign's runs: for sbatch, and for bash on this machine. They are kept under jobs/, read
// like what a person would have written, and need nothing of the campaign's driver once they are handed over.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "campaign/directory.h"

namespace headroom::campaign {

// Runs of one group that are one job: an array with a task a seed, or a single run.
struct JobPlan {
  std::string name;  // of the file under jobs/, without extension
  std::vector<const RunEntry*> runs;

  bool array() const { return runs.size() > 1; }
  // The array's task that a run is, "" for a single run.
  std::string task_of(const RunEntry& run) const { return array() ? std::to_string(run.seed) : ""; }
};

// A group's jobs: one array, whose tasks are the seeds; a job a run where a seed is too large for a task's number.
std::vector<JobPlan> job_plans(const Campaign& campaign, const std::string& group);

// Tasks as `sbatch --array` takes them, with the limit of how many run at a time.
std::string array_of(const Campaign& campaign, const std::vector<std::string>& tasks);

// For sbatch; takes the submission's name as its argument.
std::string slurm_script(const Campaign& campaign, const JobPlan& plan, const std::filesystem::path& program);

// For sbatch: makes the report when the runs' jobs are over.
std::string report_script(const Campaign& campaign, const std::filesystem::path& program);
// How long its job may take.
std::int64_t report_seconds(const Campaign& campaign);

// For bash on this machine; takes a slot's number, its cores ("0-3") and its GPUs ("0,1") as arguments.
std::string local_script(const Campaign& campaign, const RunEntry& run, const std::filesystem::path& program);

}  // namespace headroom::campaign
