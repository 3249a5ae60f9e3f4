// headroom campaign: many runs from one file, on this machine or through Slurm, and one report.
#include <fmt/core.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/process.h"
#include "base/suggest.h"
#include "base/system.h"
#include "campaign/campaign_report.h"
#include "campaign/cost.h"
#include "campaign/directory.h"
#include "campaign/job_script.h"
#include "campaign/local_executor.h"
#include "campaign/plan_table.h"
#include "campaign/queue.h"
#include "campaign/screen.h"
#include "campaign/slots.h"
#include "campaign/slurm_executor.h"
#include "campaign/status_table.h"
#include "data/corpus.h"
#include "launch/verbs.h"
#include "parallel/launcher.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;
using namespace campaign;

// Where a campaign's directory is, given itself or its file.
fs::path directory_of(const fs::path& path, const fs::path& parent) {
  if (fs::is_directory(path)) return path;
  return parent / load_spec(path).name;
}

bool still_going(const RunStatus& status) {
  return status.state.phase == Phase::queued || status.state.phase == Phase::running;
}

// The exit code that says how a campaign's runs went: the first failed run's own where it has one.
ExitCode outcome_of(const std::vector<RunStatus>& runs) {
  for (const RunStatus& status : runs) {
    const Phase phase = status.state.phase;
    if (phase == Phase::failed) {
      const auto code = static_cast<ExitCode>(status.state.status);
      return *name_of(code) == '\0' || code == ExitCode::done ? ExitCode::communication : code;
    }
  }
  const bool all = std::all_of(runs.begin(), runs.end(),
                               [](const RunStatus& status) { return status.state.phase == Phase::finished; });
  return all ? ExitCode::done : ExitCode::requeue;
}

class CampaignVerb : public Verb {
 public:
  CampaignVerb() : Verb("campaign", "Many runs from one file, here or through Slurm, and one report") {}

  void declare(CLI::App& app) override {
    app.require_subcommand(1);
    declare_action(app, "plan", "The runs of a campaign file and what they would cost", &CampaignVerb::plan,
                   "A campaign file", {Takes::site});
    declare_action(app, "run", "Trains what is not trained yet; may be called again at any time",
                   &CampaignVerb::run_campaign, "A campaign file, or the directory of a campaign that goes on",
                   {Takes::site, Takes::run});
    declare_action(app, "status", "The state of every run", &CampaignVerb::status, kDirectory, {Takes::status});
    declare_action(app, "stop", "Asks runs to save and end; `run` goes on with them", &CampaignVerb::stop, kDirectory,
                   {Takes::names});
    declare_action(app, "retry", "Lets runs that failed or were cancelled begin again from their checkpoints",
                   &CampaignVerb::retry, kDirectory, {Takes::names});
    declare_action(app, "report", "Makes the report over all runs that have trained", &CampaignVerb::report, kDirectory,
                   {});
    app.footer(
        "docs/campaigns.md walks through a campaign; configs/campaigns/ and configs/sites/ have examples.\n\n"
        "Keys of a campaign file:\n" +
        describe_spec() + "\nKeys of a site profile (--site), without which runs train on this machine:\n" +
        describe_site());
  }

  ExitCode run() override { return action_(); }

 private:
  enum class Takes : std::uint8_t { site, run, status, names };
  static constexpr const char* kDirectory = "The campaign's directory, or the file that it was made of";

  void declare_action(CLI::App& app, const std::string& name, const std::string& summary,
                      ExitCode (CampaignVerb::*action)(), const char* path_help, std::initializer_list<Takes> takes) {
    CLI::App* command = app.add_subcommand(name, summary);
    command->add_option("campaign", path_, path_help)->required()->type_name("PATH");
    command->add_option("--dir", parent_, "Where campaigns' directories are, each under its name")
        ->type_name("DIR")
        ->capture_default_str();
    for (const Takes option : takes) declare_options(*command, option);
    command->callback([this, action] { action_ = [this, action] { return (this->*action)(); }; });
  }

  void declare_options(CLI::App& command, Takes option) {
    switch (option) {
      case Takes::site:
        command.add_option("--site", site_file_, "The cluster's profile: submit to Slurm there")->type_name("FILE");
        break;
      case Takes::run:
        command.add_flag("--dry-run", dry_run_, "Print the jobs' scripts and change nothing");
        command.add_flag("--wait", wait_, "With a site: stay until all is over, showing the state");
        break;
      case Takes::status:
        command.add_flag("--watch", watch_, "Show it again and again until all is over");
        command.add_flag("--json", json_, "As JSON, for programs");
        break;
      case Takes::names:
        command.add_option("runs", names_, "These runs only; by default all")->type_name("RUN");
        break;
    }
  }

  // ---- what a file says ----
  struct Planned {
    Spec spec;
    std::optional<Site> site;
    std::vector<PlannedRun> runs;
    CampaignCost cost;
  };

  Planned plan_file() const {
    Planned planned{load_spec(path_), {}, {}, {}};
    if (!site_file_.empty()) {
      planned.site = load_site(site_file_);
      planned.spec.resources = settled(planned.spec.resources, *planned.site);
      refuse_what_the_site_lacks(*planned.site, planned.spec.resources);
    }
    planned.runs = expand(planned.spec, fs::absolute(parent_ / planned.spec.name / "runs").lexically_normal());
    planned.cost = cost_of(planned.spec, planned.runs, planned.site);
    return planned;
  }

  ExitCode plan() {
    const Planned planned = plan_file();
    fmt::print("{}", plan_table(planned.spec, planned.site, planned.runs, planned.cost));
    return ExitCode::done;
  }

  // ---- run ----
  // Which program starts the ranks, found out where the jobs are submitted.
  std::string launcher_for(const std::optional<Site>& site) const {
    if (!site) return "mpirun";
    if (site->launcher != "auto") return site->launcher;
    try {
      return srun_has_pmix() ? "srun" : "mpirun";
    } catch (const Error&) {
      if (!dry_run_) throw;
      fmt::print(stderr, "srun cannot be asked here whether it has PMIx: written as if it had\n");
      return "srun";
    }
  }

  Campaign begin() const {
    if (fs::is_directory(path_)) {
      if (!site_file_.empty()) {
        throw Error(ExitCode::usage, fmt::format("--site goes with a campaign file; {} has its site", path_.string()),
                    "Leave it out, or give the campaign's file.");
      }
      return open_campaign(path_);
    }
    const Planned planned = plan_file();
    std::set<fs::path> corpora;
    for (const PlannedRun& run : planned.runs) {
      const auto& data = run.config.data;
      if (!dry_run_ && corpora.insert(data.corpus).second) Corpus::open(data.corpus, data.valid);
    }
    if (!planned.site && planned.spec.resources.nodes > 1) {
      throw Error(ExitCode::bad_config,
                  fmt::format("{}: runs want {} nodes each, and this is one machine", path_.string(),
                              planned.spec.resources.nodes),
                  "Name the cluster's profile with --site, or lower resources.nodes.");
    }
    const fs::path directory = parent_ / planned.spec.name;
    const std::string launcher = launcher_for(planned.site);
    if (!dry_run_ && planned.site) {
      refuse_what_the_partition_lacks(describe_campaign(directory, planned.spec, planned.runs, planned.site, launcher));
    }
    if (!dry_run_ && fs::exists(directory / "campaign.json")) {
      const Campaign before = open_campaign(directory);
      refuse_others(before);
      if (before.site && planned.site) refuse_changes_under_queued_runs(before, planned.runs);
      for (const std::string& what : what_stays(before, planned.runs)) fmt::print("{}\n", what);
    }
    return dry_run_ ? describe_campaign(directory, planned.spec, planned.runs, planned.site, launcher)
                    : make_campaign(directory, planned.spec, planned.runs, planned.site, launcher);
  }

  // Jobs and signals are their user's.
  static void refuse_others(const Campaign& campaign) {
    if (campaign.owner() == ::geteuid()) return;
    const passwd* const user = ::getpwuid(campaign.owner());  // NOLINT(concurrency-mt-unsafe): one thread
    throw Error(ExitCode::usage,
                fmt::format("{} is {}'s campaign", campaign.directory.string(),
                            user == nullptr ? std::to_string(campaign.owner()) : user->pw_name),
                "`headroom campaign status` and `report` are anybody's; begin one of your own with --dir.");
  }

  static ExitCode print_scripts(const Campaign& campaign) {
    const fs::path program = own_executable();
    if (campaign.site) {
      for (const std::string& group : campaign.groups()) {
        for (const JobPlan& plan : job_plans(campaign, group)) {
          fmt::print("==> {}/{}.sbatch <==\n{}\n", campaign.jobs().string(), plan.name,
                     slurm_script(campaign, plan, program));
        }
      }
      fmt::print("==> {}/report.sbatch <==\n{}", campaign.jobs().string(), report_script(campaign, program));
    } else {
      for (const RunEntry& run : campaign.runs) {
        fmt::print("==> {}/{}.sh <==\n{}\n", campaign.jobs().string(), run.name, local_script(campaign, run, program));
      }
    }
    return ExitCode::done;
  }

  ExitCode run_campaign() {
    const Campaign campaign = begin();
    if (dry_run_) return print_scripts(campaign);
    refuse_others(campaign);
    return campaign.site ? run_on_slurm(campaign) : run_here(campaign);
  }

  // `only`: these runs; empty: all.
  ExitCode run_on_slurm(const Campaign& campaign, const std::vector<std::string>& only = {}) {
    submit_to_slurm(campaign, own_executable(), only, [](const std::string& what) {
      fmt::print("{}\n", what);
      std::fflush(stdout);
    });
    if (wait_) return follow(campaign);
    const std::vector<RunStatus> runs = read_status(campaign);
    fmt::print("{}\nState: headroom campaign status {}\n", status_line(runs, 0), campaign.directory.string());
    if (std::none_of(runs.begin(), runs.end(), still_going)) return end_of(campaign, runs);
    return ExitCode::done;
  }

  // How many runs go on together: on a cluster those that do at the moment, for nobody knows when the others will.
  static int at_once(const std::vector<RunStatus>& runs) {
    const auto running = std::count_if(runs.begin(), runs.end(),
                                       [](const RunStatus& status) { return status.state.phase == Phase::running; });
    return static_cast<int>(running);
  }

  static void show(Screen& screen, const std::vector<RunStatus>& runs) {
    std::string phases;
    for (const RunStatus& status : runs) phases += name_of(status.state.phase);
    screen.show(status_table(runs), status_line(runs, at_once(runs)), phases);
  }

  // What mpirun would say in every run's log.
  static void refuse_root_without_leave() {
    const bool leave = process_environment("OMPI_ALLOW_RUN_AS_ROOT") != nullptr &&
                       process_environment("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM") != nullptr;
    if (::geteuid() != 0 || leave) return;
    throw Error(ExitCode::usage, "mpirun does not start ranks for root unless it is told to",
                "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1, or be another user.");
  }

  ExitCode run_here(const Campaign& campaign) {
    refuse_root_without_leave();
    Screen screen;
    const Resources& resources = campaign.resources;
    const bool stopped =
        train_here(campaign, own_executable(),
                   slots_of(resources, this_machine(resources.gpus_per_node > 0), campaign.runs.size()),
                   [&](const std::vector<RunStatus>& runs) { show(screen, runs); });
    if (stopped) {
      fmt::print("stopped; `headroom campaign run {}` goes on\n", campaign.directory.string());
      return ExitCode::requeue;
    }
    return end_of(campaign, read_status(campaign));
  }

  // Until no run waits or trains any more and the report's job is over.
  ExitCode follow(const Campaign& campaign) {
    constexpr std::chrono::seconds kInterval{3};  // a scheduler is not to be asked all the time
    Screen screen;
    for (;;) {
      std::string away;  // the scheduler may be, for a while
      const std::vector<RunStatus> runs = read_status_even_if_away(campaign, away);
      if (!away.empty()) {
        screen.show(status_table(runs), away, away);
      } else {
        show(screen, runs);
        if (std::none_of(runs.begin(), runs.end(), still_going) && !report_goes_on(campaign)) {
          return end_of(campaign, runs);
        }
      }
      std::this_thread::sleep_for(kInterval);
    }
  }

  // As far as can be known.
  static bool report_goes_on(const Campaign& campaign) {
    try {
      return report_is_queued(campaign);
    } catch (const Error& error) {
      if (error.code() != ExitCode::communication) throw;
      return true;
    }
  }

  // Of a run that failed before its first step: what it was is in its log alone.
  static void print_last_words(const Campaign& campaign, const RunStatus& status) {
    if (status.state.phase != Phase::failed || status.progress) return;
    constexpr std::size_t kLines = 5;
    std::deque<std::string> lines;
    std::ifstream log(campaign.log(status.run->name));
    for (std::string line; std::getline(log, line);) {
      if (line.find_first_not_of(" -") == std::string::npos) continue;
      lines.push_back(line);
      if (lines.size() > kLines) lines.pop_front();
    }
    fmt::print("\n{} ended with:\n", campaign.log(status.run->name).string());
    for (const std::string& line : lines) fmt::print("  {}\n", line);
  }

  // The report where there is something to report, and what a user should do about the rest.
  static ExitCode end_of(const Campaign& campaign, const std::vector<RunStatus>& runs) {
    const bool any = std::any_of(runs.begin(), runs.end(), [](const RunStatus& status) { return status.progress; });
    const ExitCode outcome = outcome_of(runs);
    if (outcome != ExitCode::done) {
      fmt::print("{}", status_table(runs));
      for (const RunStatus& status : runs) print_last_words(campaign, status);
      fmt::print(
          "`headroom campaign retry {0}` begins failed and cancelled runs again, `run` goes on with others; "
          "{0}/logs has what they printed.\n",
          campaign.directory.string());
    }
    if (any) print_report(campaign);
    return outcome;
  }

  // ---- the other actions ----
  Campaign opened() const { return open_campaign(directory_of(path_, parent_)); }

  ExitCode status() {
    const Campaign campaign = opened();
    std::string away;
    if (watch_) {
      Screen screen;
      for (;;) {
        const std::vector<RunStatus> runs = read_status_even_if_away(campaign, away);
        if (away.empty()) {
          show(screen, runs);
          if (std::none_of(runs.begin(), runs.end(), still_going)) return ExitCode::done;
        } else {
          screen.show(status_table(runs), away, away);
        }
        std::this_thread::sleep_for(std::chrono::seconds(campaign.site ? 3 : 1));
      }
    }
    const std::vector<RunStatus> runs = read_status_even_if_away(campaign, away);
    if (!away.empty()) {
      fmt::print(stderr, "the scheduler does not answer, this is what the campaign's files say ({})\n", away);
    }
    if (json_) {
      fmt::print("{}\n", status_json(campaign, runs).dump(2));
    } else {
      fmt::print("{}\n{}\n", status_table(runs), status_line(runs, at_once(runs)));
    }
    return away.empty() ? ExitCode::done : ExitCode::communication;
  }

  // The runs that were named, or all.
  std::vector<RunStatus> chosen(const Campaign& campaign) const {
    for (const std::string& name : names_) {
      if (campaign.find(name) != nullptr) continue;
      std::vector<std::string> known;
      for (const RunEntry& run : campaign.runs) known.push_back(run.name);
      const std::string nearest = nearest_word(name, known);
      throw Error(
          ExitCode::usage, fmt::format("{} has no run '{}'", campaign.directory.string(), name),
          nearest.empty() ? "`headroom campaign status` lists its runs." : fmt::format("Did you mean '{}'?", nearest));
    }
    std::vector<RunStatus> runs = read_status(campaign);
    std::erase_if(runs, [&](const RunStatus& status) {
      return !names_.empty() && std::find(names_.begin(), names_.end(), status.run->name) == names_.end();
    });
    return runs;
  }

  ExitCode stop() {
    const Campaign campaign = opened();
    refuse_others(campaign);
    const CampaignLock lock(campaign);
    const std::vector<RunStatus> runs = chosen(campaign);
    if (campaign.site) {
      stop_on_slurm(campaign, runs);
    } else {
      stop_here(campaign, runs);
    }
    const auto in_phase = [&](std::initializer_list<Phase> phases) {
      return std::count_if(runs.begin(), runs.end(), [&](const RunStatus& status) {
        return std::find(phases.begin(), phases.end(), status.state.phase) != phases.end();
      });
    };
    const auto running = in_phase({Phase::running});
    const auto others = in_phase({Phase::queued, Phase::waiting, Phase::lost});
    const auto over = in_phase({Phase::finished, Phase::failed, Phase::cancelled, Phase::stopped});
    fmt::print("{} running asked to save and end, {} not to begin{}; `headroom campaign run {}` goes on.\n", running,
               others, over > 0 ? fmt::format(", {} left as they are", over) : "", campaign.directory.string());
    return ExitCode::done;
  }

  ExitCode retry() {
    const Campaign campaign = opened();
    refuse_others(campaign);
    std::vector<std::string> again;
    {
      const CampaignLock lock(campaign);
      for (const RunStatus& status : chosen(campaign)) {
        if (status.state.phase != Phase::failed && status.state.phase != Phase::cancelled) continue;
        Journal(campaign).retried(*status.run);
        again.push_back(status.run->name);
      }
    }
    fmt::print("{} run{} to begin again\n", again.size(), again.size() == 1 ? "" : "s");
    if (again.empty()) return ExitCode::done;
    if (campaign.site) return run_on_slurm(campaign, again);
    fmt::print("`headroom campaign run {}` trains them; one that is running takes them up by itself.\n",
               campaign.directory.string());
    return ExitCode::done;
  }

  ExitCode report() {
    print_report(opened());
    return ExitCode::done;
  }

  static void print_report(const Campaign& campaign) {
    std::vector<std::string> left_out;
    const fs::path page = write_campaign_report(campaign, left_out);
    for (const std::string& run : left_out) fmt::print("not in the report: {}\n", run);
    fmt::print("{}\n", page.string());
  }

  fs::path path_;
  fs::path parent_ = "campaigns";
  fs::path site_file_;
  bool dry_run_ = false;
  bool wait_ = false;
  bool watch_ = false;
  bool json_ = false;
  std::vector<std::string> names_;
  std::function<ExitCode()> action_;
};

}  // namespace

std::unique_ptr<Verb> make_campaign_verb() {
  return std::make_unique<CampaignVerb>();
}

}  // namespace headroom
