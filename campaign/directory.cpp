#include "campaign/directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/version.h"
#include "trainer/config_schema.h"

namespace headroom::campaign {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Resources, nodes, ranks_per_node, threads, gpus_per_node, gpu, seconds, warning,
                                   memory_gb, at_once)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Budget, tokens, node_hours, restarts)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ReportSettings, title, absolute, ratio, sink)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RunEntry, name, group, label, seed, steps, tokens_per_step)

namespace {

namespace fs = std::filesystem;

constexpr int kFormat = 1;

// The same for "campaigns/small" and "campaigns/small/".
fs::path absolute_directory(const fs::path& directory) {
  const fs::path path = fs::absolute(directory).lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

void write_manifest(const Campaign& campaign) {
  const nlohmann::ordered_json manifest = {
      {"format", kFormat},
      {"headroom", version_line()},
      {"name", campaign.name},
      {"executor", campaign.site ? "slurm" : "local"},
      {"launcher", campaign.launcher},
      {"resources", nlohmann::json(campaign.resources)},
      {"budget", nlohmann::json(campaign.budget)},
      {"report", nlohmann::json(campaign.report)},
      {"runs", nlohmann::json(campaign.runs)},
  };
  write_file_atomically(campaign.directory / "campaign.json", manifest.dump(2) + "\n");
}

[[noreturn]] void refuse_manifest(const fs::path& file, const std::string& why) {
  throw Error(ExitCode::bad_config, fmt::format("{}: {}", file.string(), why),
              "It was damaged. Bring it back, or begin the campaign in another directory (--dir).");
}

void refuse_other_executor(const Campaign& before, const std::optional<Site>& site) {
  if (before.site.has_value() == site.has_value()) return;
  throw Error(ExitCode::bad_config,
              fmt::format("{} was begun {}", before.directory.string(),
                          before.site ? fmt::format("on {} (Slurm)", before.site->name) : "on this machine"),
              before.site ? "Give --site as before, or begin it in another directory (--dir)."
                          : "Leave out --site, or begin it in another directory (--dir).");
}

// Where a planned run has left traces under another config, its results would be mixed.
void refuse_changed_runs(const Campaign& campaign, const std::vector<PlannedRun>& runs) {
  for (const PlannedRun& run : runs) {
    const fs::path file = campaign.config(run.name);
    if (!fs::exists(file) || !fs::exists(campaign.run_directory(run.name))) continue;
    const std::vector<std::string> differences = computing_differences(load_config(file, {}), run.config);
    if (differences.empty()) continue;
    throw Error(ExitCode::bad_config,
                fmt::format("run {} of {} has begun with another config:\n  {}", run.name, campaign.directory.string(),
                            fmt::join(differences, "\n  ")),
                "Give the campaign another name, or begin it in another directory (--dir).");
  }
}

RunEntry entry_of(const PlannedRun& run) {
  const std::string label =
      run.group == run.config.variant ? run.group : fmt::format("{} ({})", run.config.variant, run.group);
  return {run.name,
          run.group,
          label,
          run.seed,
          run.config.train.steps,
          run.config.train.global_batch * run.config.model.seq_len};
}

}  // namespace

std::vector<std::string> Campaign::groups() const {
  std::vector<std::string> groups;
  for (const RunEntry& run : runs) {
    if (std::find(groups.begin(), groups.end(), run.group) == groups.end()) groups.push_back(run.group);
  }
  return groups;
}

std::vector<const RunEntry*> Campaign::runs_of(const std::string& group) const {
  std::vector<const RunEntry*> found;
  for (const RunEntry& run : runs) {
    if (run.group == group) found.push_back(&run);
  }
  return found;
}

unsigned Campaign::owner() const {
  struct stat status = {};
  if (::stat((directory / "campaign.json").c_str(), &status) != 0) return ::geteuid();  // not made yet
  return status.st_uid;
}

const RunEntry* Campaign::find(const std::string& run) const {
  const auto found = std::find_if(runs.begin(), runs.end(), [&](const RunEntry& entry) { return entry.name == run; });
  return found == runs.end() ? nullptr : &*found;
}

CampaignLock::CampaignLock(const Campaign& campaign) {
  const fs::path file = campaign.directory / "lock";
  lock_ = Descriptor(::open(file.c_str(), O_RDWR | O_CREAT, 0644));  // inherited on purpose: no O_CLOEXEC
  if (!lock_) throw_write_error(file, "open", errno);
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) == 0) return;
  if (errno == EWOULDBLOCK)
    fmt::print(stderr, "waiting for another `headroom campaign` on {}\n", file.parent_path().string());
  while (::flock(lock_.get(), LOCK_EX) != 0) {
    if (errno != EINTR) throw_write_error(file, "lock", errno);
  }
}

Campaign open_campaign(const fs::path& directory) {
  const fs::path file = directory / "campaign.json";
  if (!fs::exists(file)) {
    throw Error(ExitCode::usage, fmt::format("'{}' is no campaign's directory: no campaign.json", directory.string()),
                "`headroom campaign run FILE` makes one, under campaigns/ unless --dir says otherwise.");
  }
  Campaign campaign;
  campaign.directory = absolute_directory(directory);
  try {
    const auto manifest = nlohmann::json::parse(read_file(file));
    if (const int format = manifest.at("format").get<int>(); format != kFormat) {
      throw Error(ExitCode::bad_config,
                  fmt::format("{} is of format {}, written by {}; this is {}, which knows format {}", file.string(),
                              format, manifest.value("headroom", "an unknown version"), version_line(), kFormat),
                  "Use the version that wrote it, or begin the campaign in another directory (--dir).");
    }
    campaign.name = manifest.at("name").get<std::string>();
    campaign.launcher = manifest.at("launcher").get<std::string>();
    campaign.resources = manifest.at("resources").get<Resources>();
    campaign.budget = manifest.at("budget").get<Budget>();
    campaign.report = manifest.at("report").get<ReportSettings>();
    campaign.runs = manifest.at("runs").get<std::vector<RunEntry>>();
    if (manifest.at("executor") == "slurm") campaign.site = load_site(campaign.directory / "site.toml");
  } catch (const nlohmann::json::exception& error) {
    refuse_manifest(file, error.what());
  }
  return campaign;
}

Campaign describe_campaign(const fs::path& directory, const Spec& spec, const std::vector<PlannedRun>& runs,
                           const std::optional<Site>& site, const std::string& launcher) {
  Campaign campaign{
      absolute_directory(directory), spec.name, site, launcher, spec.resources, spec.budget, spec.report, {}};
  for (const PlannedRun& run : runs) campaign.runs.push_back(entry_of(run));
  return campaign;
}

std::vector<std::string> what_stays(const Campaign& campaign, const std::vector<PlannedRun>& runs) {
  std::vector<std::string> finished;
  std::vector<std::string> dropped;
  for (const RunEntry& entry : campaign.runs) {
    const auto planned =
        std::find_if(runs.begin(), runs.end(), [&](const PlannedRun& run) { return run.name == entry.name; });
    if (planned == runs.end()) {
      dropped.push_back(entry.name);
    } else if (fs::exists(campaign.run_directory(entry.name) / "finished") &&
               read_file(campaign.config(entry.name)) != to_toml(planned->config)) {
      finished.push_back(entry.name);
    }
  }
  std::vector<std::string> words;
  if (!finished.empty()) {
    words.push_back(
        fmt::format("finished, and not trained again for what the file changes: {}", fmt::join(finished, ", ")));
  }
  if (!dropped.empty()) {
    words.push_back(fmt::format("not in the file any more, and kept in the campaign: {}", fmt::join(dropped, ", ")));
  }
  return words;
}

Campaign make_campaign(const fs::path& directory, const Spec& spec, const std::vector<PlannedRun>& runs,
                       const std::optional<Site>& site, const std::string& launcher) {
  Campaign campaign = describe_campaign(directory, spec, runs, site, launcher);
  make_directories(campaign.directory);
  const CampaignLock lock(campaign);
  if (fs::exists(campaign.directory / "campaign.json")) {
    const Campaign before = open_campaign(campaign.directory);
    refuse_other_executor(before, site);
    refuse_changed_runs(before, runs);
    for (const RunEntry& run : before.runs) {
      if (campaign.find(run.name) == nullptr) campaign.runs.push_back(run);
    }
  }
  for (const char* folder : {"configs", "jobs", "journal", "logs", "runs"}) {
    make_directories(campaign.directory / folder);
  }
  for (const PlannedRun& run : runs) {
    const bool over = fs::exists(campaign.run_directory(run.name) / "finished");
    if (!over) write_file_atomically(campaign.config(run.name), to_toml(run.config));
  }
  write_file_atomically(campaign.directory / "campaign.toml", spec.text);
  if (site) write_file_atomically(campaign.directory / "site.toml", site->text);
  write_manifest(campaign);  // last: a directory without it is none
  return campaign;
}

}  // namespace headroom::campaign
