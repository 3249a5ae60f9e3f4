#include "campaign/slurm_executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "campaign/duration.h"
#include "campaign/job_script.h"
#include "trainer/config_schema.h"

namespace headroom::campaign {
namespace {

namespace fs = std::filesystem;

// "llama-1b/tvr#2@3fa9c2e1": a name that no other campaign's submission has.
std::string submission_name(const Campaign& campaign, const std::string& plan, std::size_t number) {
  return fmt::format("{}/{}#{}@{}", campaign.name, plan, number, hex_hash(campaign.directory.string()).substr(0, 8));
}

fs::path script_file(const Campaign& campaign, const std::string& name) {
  return campaign.jobs() / (name + ".sbatch");
}

bool is_among(const std::string& run, const std::vector<std::string>& only) {
  return only.empty() || std::find(only.begin(), only.end(), run) != only.end();
}

std::optional<Queue> queue_if_it_answers(const Campaign& campaign) {
  try {
    return read_queue(campaign.owner());
  } catch (const Error&) {
    return {};
  }
}

}  // namespace

void refuse_what_the_partition_lacks(const Campaign& campaign) {
  const std::string& partition = campaign.site->partition;
  const PartitionLimits limits = limits_of(partition);
  const auto refuse = [&](const std::string& what, const std::string& hint) {
    throw Error(ExitCode::bad_config, fmt::format("partition {} {}; nothing was submitted", partition, what), hint);
  };
  if (limits.nodes == 0) refuse("does not exist", "Correct slurm.partition of the site profile (`sinfo` lists them).");
  if (campaign.resources.nodes > limits.nodes) {
    refuse(fmt::format("has {} nodes, a run wants {}", limits.nodes, campaign.resources.nodes),
           "Lower resources.nodes of the campaign, or name another partition.");
  }
  if (limits.seconds && campaign.resources.seconds > *limits.seconds) {
    refuse(fmt::format("takes jobs of {} at most, the campaign's are of {}", duration_text(*limits.seconds),
                       duration_text(campaign.resources.seconds)),
           "Lower resources.time: a run that needs longer is requeued until it is done.");
  }
  const std::string& reports = campaign.site->report.partition.empty() ? partition : campaign.site->report.partition;
  const PartitionLimits of_reports = limits_of(reports);
  if (of_reports.nodes == 0 || (of_reports.seconds && report_seconds(campaign) > *of_reports.seconds)) {
    throw Error(ExitCode::bad_config,
                fmt::format("partition {} {} the report's job of {}; nothing was submitted", reports,
                            of_reports.nodes == 0 ? "does not exist, for" : "is too short for",
                            duration_text(report_seconds(campaign))),
                "Correct report.partition or report.time of the site profile.");
  }
}

namespace {

class Submitter {
 public:
  Submitter(const Campaign& campaign, const std::vector<std::string>& only,
            const std::function<void(const std::string&)>& say)
      : campaign_(campaign), journal_(campaign), only_(only), say_(say), states_(read_status(campaign)) {}

  void submit_runs() {
    for (const std::string& group : campaign_.groups()) {
      for (const JobPlan& plan : job_plans(campaign_, group)) submit_plan(group, plan);
    }
  }

  // Behind everything that is in the queue now.
  void submit_report() {
    std::set<std::string> jobs;
    for (const RunStatus& status : states_) {
      if (in_queue(status.state) && status.state.job) jobs.insert(without_task(*status.state.job));
    }
    jobs.insert(submitted_.begin(), submitted_.end());
    if (jobs.empty()) return;
    const std::vector<std::string> older = queued_reports(jobs);
    if (covered_) return;
    Submission submission{
        submission_name(campaign_, kReportName, journal_.submissions(kReportName).size() + 1), {}, {}, false};
    for (const std::string& job : jobs) submission.tasks[job] = "";
    const std::string id = hand_over(kReportName, submission, script_file(campaign_, kReportName),
                                     {fmt::format("--dependency=afterany:{}", fmt::join(jobs, ":"))});
    say_(fmt::format("report: job {}, when they are over", id));
    cancel(older);
  }

 private:
  static bool in_queue(const RunState& state) { return state.phase == Phase::queued || state.phase == Phase::running; }

  void submit_plan(const std::string& group, const JobPlan& plan) {
    Submission submission{submission_name(campaign_, plan.name, journal_.submissions(group).size() + 1), {}, {}, false};
    std::vector<std::string> tasks;
    for (const RunEntry* run : plan.runs) {
      const Phase phase = state_of(*run).phase;
      if (phase != Phase::waiting && phase != Phase::lost && phase != Phase::stopped) continue;
      if (!is_among(run->name, only_)) continue;
      submission.tasks[run->name] = plan.task_of(*run);
      tasks.push_back(plan.task_of(*run));
    }
    if (submission.tasks.empty()) return;
    std::vector<std::string> options;
    if (plan.array() && tasks.size() < plan.runs.size()) {
      options.push_back("--array=" + array_of(campaign_, tasks));  // over the script's own
    }
    const std::string id = hand_over(group, submission, script_file(campaign_, plan.name), options);
    submitted_.push_back(id);
    say_(fmt::format("{}: job {}, {} run{}", plan.name, id, tasks.size(), tasks.size() == 1 ? "" : "s"));
  }

  std::string hand_over(const std::string& group, const Submission& submission, const fs::path& script,
                        std::vector<std::string> options) {
    journal_.begin_submission(group, submission);
    options.push_back("--comment=" + submission.name);
    try {
      const std::string id = submit(options, script.string(), {submission.name});
      journal_.submitted(group, submission.name, id);
      return id;
    } catch (const Error& error) {
      // What sbatch calls an error may have reached the scheduler all the same, and its answer been lost.
      const std::optional<Queue> queue = queue_if_it_answers(campaign_);
      if (const auto id = queue ? find_submission(submission, {}, *queue) : std::nullopt) {
        journal_.submitted(group, submission.name, *id);
        return *id;
      }
      const bool surely = queue && error.code() == ExitCode::usage;  // else the next call looks in the queue
      if (surely) journal_.refused(group, submission.name, error.what());
      throw Error(error.code(), error.what(),
                  fmt::format("{} `headroom campaign run` again submits what is left; before this {}.", error.hint(),
                              submitted_.empty()
                                  ? "nothing was submitted"
                                  : fmt::format("jobs {} were submitted, and stay", fmt::join(submitted_, ", "))));
    }
  }

  // Reports of this campaign that are in the queue; notes whether one of them already waits for all these jobs.
  std::vector<std::string> queued_reports(const std::set<std::string>& jobs) {
    const Queue queue = read_queue(campaign_.owner());
    std::vector<std::string> older;
    for (const Submission& submission : journal_.submissions(kReportName)) {
      const auto job = submission.job ? submission.job : find_submission(submission, {}, queue);
      if (!job || find_job(queue, *job, submission.name) == nullptr) continue;
      std::set<std::string> waits_for;
      for (const auto& [one, task] : submission.tasks) waits_for.insert(one);
      if (std::includes(waits_for.begin(), waits_for.end(), jobs.begin(), jobs.end())) {
        covered_ = true;
      } else {
        older.push_back(*job);
      }
    }
    return older;
  }

  const RunState& state_of(const RunEntry& run) const {
    return std::find_if(states_.begin(), states_.end(), [&](const RunStatus& s) { return s.run == &run; })->state;
  }

  const Campaign& campaign_;
  Journal journal_;
  const std::vector<std::string>& only_;
  const std::function<void(const std::string&)>& say_;
  std::vector<RunStatus> states_;
  std::vector<std::string> submitted_;  // jobs
  bool covered_ = false;
};

}  // namespace

void refuse_changes_under_queued_runs(const Campaign& campaign, const std::vector<PlannedRun>& runs) {
  for (const RunStatus& status : read_status(campaign)) {
    if (status.state.phase != Phase::queued && status.state.phase != Phase::running) continue;
    const auto planned =
        std::find_if(runs.begin(), runs.end(), [&](const PlannedRun& run) { return run.name == status.run->name; });
    if (planned == runs.end() || read_file(campaign.config(planned->name)) == to_toml(planned->config)) continue;
    throw Error(ExitCode::bad_config,
                fmt::format("run {} is {} with another config than the file would give it", planned->name,
                            name_of(status.state.phase)),
                fmt::format("Let it end, or `headroom campaign stop {}` first.", campaign.directory.string()));
  }
}

std::vector<fs::path> write_slurm_scripts(const Campaign& campaign, const fs::path& program) {
  std::vector<fs::path> written;
  const auto write = [&](const std::string& name, const std::string& text) {
    written.push_back(script_file(campaign, name));
    write_file_atomically(written.back(), text);
  };
  for (const std::string& group : campaign.groups()) {
    for (const JobPlan& plan : job_plans(campaign, group)) write(plan.name, slurm_script(campaign, plan, program));
  }
  write(kReportName, report_script(campaign, program));
  return written;
}

void submit_to_slurm(const Campaign& campaign, const fs::path& program, const std::vector<std::string>& only,
                     const std::function<void(const std::string&)>& say) {
  refuse_what_the_partition_lacks(campaign);
  const CampaignLock lock(campaign);
  for (const RunStatus& status : read_status(campaign)) {
    const std::string& run = status.run->name;
    if (!is_among(run, only) || !fs::exists(campaign.stop_mark(run))) continue;
    // A job that is still saving itself goes back into the queue by itself.
    if (status.state.phase == Phase::stopped) Journal(campaign).retried(*status.run);
    fs::remove(campaign.stop_mark(run));
  }
  write_slurm_scripts(campaign, program);
  Submitter submitter(campaign, only, say);
  submitter.submit_runs();
  submitter.submit_report();
}

bool report_is_queued(const Campaign& campaign) {
  const Queue queue = read_queue(campaign.owner());
  const std::vector<Submission> reports = Journal(campaign).submissions(kReportName);
  return std::any_of(reports.begin(), reports.end(),
                     [&](const Submission& report) { return find_submission(report, {}, queue).has_value(); });
}

void stop_on_slurm(const Campaign& campaign, const std::vector<RunStatus>& runs) {
  std::vector<std::string> waiting;
  std::vector<std::string> running;
  for (const RunStatus& status : runs) {
    const Phase phase = status.state.phase;
    if (phase == Phase::finished || phase == Phase::failed || phase == Phase::cancelled) continue;
    if (phase == Phase::queued) waiting.push_back(*status.state.job);
    if (phase == Phase::running) running.push_back(*status.state.job);
    write_file_atomically(campaign.stop_mark(status.run->name), "");
  }
  cancel_waiting(waiting);  // first: one of them might take the place of one that ends
  signal_scripts(running);
}

}  // namespace headroom::campaign
