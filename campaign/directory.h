// A campaign's directory: what belongs to the campaign and where everything of it lies. All state is in these files, so
// that any verb can be called from any login node at any time.
//
//   campaign.json   its runs, executor and settings; begins with the format's version
//   campaign.toml, site.toml   the files that it was made of, as they were
//   configs/RUN.toml           each run's config
//   jobs/                      what is handed to the scheduler or to bash
//   journal/                   what was submitted, started and ended (campaign/journal.h)
//   logs/RUN.log               what a run and its job's script print
//   runs/RUN/  report/
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/descriptor.h"
#include "campaign/runs.h"
#include "campaign/site.h"

namespace headroom::campaign {

// One run as the directory knows it.
struct RunEntry {
  std::string name;
  std::string group;  // runs that differ in the seed only
  std::string label;  // of the group, for people
  std::uint64_t seed = 0;
  std::int64_t steps = 0;
  std::int64_t tokens_per_step = 0;
};

struct Campaign {
  std::filesystem::path directory;  // absolute
  std::string name;
  std::optional<Site> site;  // none: on this machine
  std::string launcher;      // "srun" or "mpirun"
  Resources resources;
  Budget budget;
  ReportSettings report;
  std::vector<RunEntry> runs;

  std::filesystem::path config(const std::string& run) const { return directory / "configs" / (run + ".toml"); }
  std::filesystem::path jobs() const { return directory / "jobs"; }
  std::filesystem::path journal() const { return directory / "journal"; }
  std::filesystem::path log(const std::string& run) const { return directory / "logs" / (run + ".log"); }
  std::filesystem::path run_directory(const std::string& run) const { return directory / "runs" / run; }
  std::filesystem::path report_directory() const { return directory / "report"; }
  // The file that says that a run was asked to stop.
  std::filesystem::path stop_mark(const std::string& run) const { return journal() / (run + ".stop"); }

  // Runs that differ in the seed only, in order.
  std::vector<std::string> groups() const;
  std::vector<const RunEntry*> runs_of(const std::string& group) const;
  // The user whose jobs its runs are: who owns the directory.
  unsigned owner() const;
  const RunEntry* find(const std::string& run) const;
};

// Held by who changes what the directory says about submissions. On one file system only one process has it; a child
// that inherits it (sbatch) holds it as long as it lives, so that a killed driver's last submission is over before
// anybody looks.
class CampaignLock {
 public:
  // Waits for the lock for as long as somebody has it. Throws ExitCode::disk_full.
  explicit CampaignLock(const Campaign& campaign);

 private:
  Descriptor lock_;
};

// Opens a directory. Throws ExitCode::usage for one that is none, ExitCode::bad_config for one of another version.
Campaign open_campaign(const std::filesystem::path& directory);

// What the directory would say, without making one.
Campaign describe_campaign(const std::filesystem::path& directory, const Spec& spec,
                           const std::vector<PlannedRun>& runs, const std::optional<Site>& site,
                           const std::string& launcher);

// What a changed file does not change, in words: runs that have begun or are over keep what they were made with where
// it does not influence what they compute, and runs that are not in the file any more stay.
std::vector<std::string> what_stays(const Campaign& campaign, const std::vector<PlannedRun>& runs);

// Makes the directory, or extends the one that is there by runs that it does not have yet. Runs of it that are not
// planned any more stay. Throws ExitCode::bad_config where a planned run has begun with another config, naming the
// keys; then nothing is changed.
Campaign make_campaign(const std::filesystem::path& directory, const Spec& spec, const std::vector<PlannedRun>& runs,
                       const std::optional<Site>& site, const std::string& launcher);

}  // namespace headroom::campaign
