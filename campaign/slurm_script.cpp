#include <fmt/format.h>

#include <algorithm>

#include "base/progress.h"
#include "campaign/duration.h"
#include "campaign/job_script.h"
#include "campaign/script.h"

namespace headroom::campaign {
namespace {

std::string seeds_text(const JobPlan& plan) {
  std::vector<std::uint64_t> seeds;
  for (const RunEntry* run : plan.runs) seeds.push_back(run->seed);
  const std::string list = fmt::format("{}", fmt::join(seeds, ","));
  const bool consecutive = seeds.size() > 2 && std::adjacent_find(seeds.begin(), seeds.end(), [](auto a, auto b) {
                                                 return b != a + 1;
                                               }) == seeds.end();
  return consecutive ? fmt::format("{}-{}", seeds.front(), seeds.back()) : list;
}

// Where a job prints. %a is the array's task; a % of the directory's own is none of Slurm's.
std::string output_option(const Campaign& campaign, const std::string& log) {
  std::string directory;
  for (const char c : campaign.log("").parent_path().string()) directory += c == '%' ? "%%" : std::string(1, c);
  return "--output=" + quoted(fmt::format("{}/{}.log", directory, log));
}

void optional_option(Script& script, const char* name, const std::string& value) {
  if (!value.empty()) script.option(fmt::format("--{}={}", name, quoted(value)));
}

// What nodes of a partition to ask for.
void site_options(const Site& site, Script& script) {
  script.option("--partition=" + quoted(site.partition));
  optional_option(script, "account", site.account);
  optional_option(script, "qos", site.qos);
  optional_option(script, "constraint", site.constraint);
  optional_option(script, "reservation", site.reservation);
  for (const std::string& option : site.options) script.option(option);
}

void resource_options(const Resources& resources, const Site& site, Script& script) {
  script.option(fmt::format("--nodes={}", resources.nodes));
  script.option(fmt::format("--ntasks-per-node={}", resources.ranks_per_node),
                resources.gpus_per_node > 0 ? "a rank a GPU" : "ranks");
  if (resources.gpus_per_node > 0) {
    std::string option = site.gpu_option;
    option.replace(option.find("{}"), 2, std::to_string(resources.gpus_per_node));
    script.option(option);
  }
  script.option(fmt::format("--cpus-per-task={}", resources.threads), "threads of a rank");
  if (site.exclusive) script.option("--exclusive");
  if (resources.memory_gb > 0) {
    script.option(fmt::format("--mem={}G", resources.memory_gb), "of a node");
  } else if (site.exclusive) {
    script.option("--mem=0", "all of a node's");
  }
}

// "10 min", "1 min 30 s".
std::string warning_text(std::int64_t seconds) {
  return seconds % 60 == 0 && seconds < 3600 ? fmt::format("{} min", seconds / 60)
                                             : format_duration(static_cast<double>(seconds));
}

void job_options(const Campaign& campaign, const JobPlan& plan, Script& script) {
  const Resources& resources = campaign.resources;
  script.option(fmt::format("--job-name={}-{}", campaign.name, plan.name));
  if (plan.array()) {
    script.option("--array=" + array_of(campaign, {seeds_text(plan)}), "a task a seed");
  }
  site_options(*campaign.site, script);
  resource_options(resources, *campaign.site, script);
  script.option("--time=" + duration_text(resources.seconds));
  script.option(fmt::format("--signal=B:USR1@{}", resources.warning),
                fmt::format("to this script, {} before the end", warning_text(resources.warning)));
  script.option("--requeue", "when a node is lost");
  script.option("--open-mode=append", "a requeued job goes on in its log");
  const std::string log = plan.array() ? plan.runs.front()->group + "-seed%a" : plan.runs.front()->name;
  script.option(output_option(campaign, log));
}

void names(const Campaign& campaign, const JobPlan& plan, Script& script) {
  script.line("campaign=" + quoted(campaign.directory.string()));
  if (plan.array()) {
    script.line(fmt::format("run={}-seed$SLURM_ARRAY_TASK_ID", plan.runs.front()->group));
    script.line("job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID");
  } else {
    script.line("run=" + plan.runs.front()->name);
    script.line("job=$SLURM_JOB_ID");
  }
  script.line("submission=${1:-by hand}");
  script.line(fmt::format("submissions=$campaign/journal/{}.submissions.jsonl", plan.runs.front()->group));
  script.line("attempts=$campaign/journal/$run.attempts.jsonl");
  script.line("unfit=$campaign/journal/$run.unfit-nodes");
  script.line("no_spares=$campaign/journal/$run.no-spare-nodes");
}

void site_lines(const Site& site, Script& script) {
  for (const std::string& line : site.setup) script.line(line);
  for (const auto& [name, value] : site.environment) script.line(fmt::format("export {}={}", name, quoted(value)));
}

void launch_lines(const Campaign& campaign, const std::filesystem::path& program, Script& script) {
  const Resources& resources = campaign.resources;
  const Site& site = *campaign.site;
  script.line(fmt::format("export OMP_NUM_THREADS={}", resources.threads));
  if (site.bind) script.line("export OMP_PLACES=cores OMP_PROC_BIND=close");
  if (campaign.launcher == "srun") {
    // All GPUs of a node stay visible to its ranks, which take one each and reach the others' memory.
    std::string options = fmt::format("--mpi=pmix --kill-on-bad-exit=1 --cpus-per-task={}", resources.threads);
    if (site.bind) options += " --cpu-bind=cores";
    if (resources.gpus_per_node > 0) options += " --gpu-bind=none";
    for (const std::string& option : site.srun_options) options += " " + option;
    script.line(fmt::format("launch=(srun {})", options));
  } else {
    script.line(fmt::format(
        "launch=(mpirun -n {} {}{})", resources.ranks(),
        site.bind
            ? fmt::format("--map-by ppr:{}:node:pe={} --bind-to core", resources.ranks_per_node, resources.threads)
            : fmt::format("--map-by ppr:{}:node --bind-to none", resources.ranks_per_node),
        site.mpirun_options.empty() ? "" : " " + fmt::format("{}", fmt::join(site.mpirun_options, " "))));
  }
  script.line("headroom=(" + (site.container.empty() ? "" : site.container + " ") + quoted(program.string()) + ")");
  script.line("set -u  # not before: a site's own scripts may use what is not set");
}

constexpr const char* kTell = R"sh(
# ---- helpers ----
# Writes down what happens: tell EVENT STATUS [further fields]
tell() {
  mend_journal
  printf '{"time": "%s", "event": "%s", "status": %d, "job": "%s", "submission": "%s", "nodes": "%s", "process": %d%s}\n' \
    "$(date -u +%FT%TZ)" "$1" "$2" "$job" "$submission" "$SLURM_JOB_NODELIST" $$ "${3:-}" >>"$attempts"
}
)sh";

// {0}: restarts; {1}: seconds that a job may take.
constexpr const char* kAgain = R"sh(
# From now on without the nodes that the preflight found unfit, unless too few would be left.
leave_out_unfit_nodes() {{
  [ -s "$unfit" ] || return
  local unwanted left
  unwanted=$({{ squeue --noheader --jobs="$job" --format=%x; cat "$unfit"; }} | grep -vxF -e '(null)' -e '' |
    sort -u | paste -sd,)
  left=$(sinfo --noheader --Node --partition="$SLURM_JOB_PARTITION" --states=idle,mixed,allocated,completing \
    --format=%N | sort -u | grep -vxFc -f <(scontrol show hostnames "$unwanted"))
  if [ "$left" -ge "$SLURM_JOB_NUM_NODES" ]; then
    scontrol update JobId="$job" ExcNodeList="$unwanted"
  else
    echo "without $unwanted there are $left nodes for $SLURM_JOB_NUM_NODES: they stay, and may be slow"
    touch "$no_spares"
  fi
}}

# Back into the queue, where the job keeps its number, unless the run has begun {0} times more without getting anywhere.
again() {{
  local progress=false tries=0
  [ "$(newest_checkpoint)" = "$checkpoint" ] || progress=true
  if [ "$progress" = false ] && [ "$(starts_in_vain)" -gt {0} ]; then
    tell 'gave up' "$status"
    return
  fi
  tell requeued "$status" ", \"progress\": $progress"
  trap '' TERM  # what requeueing sends to this script
  until scontrol requeue "$job"; do  # the scheduler may be away for a while
    tries=$((tries + 1))
    [ "$tries" -lt 40 ] || {{ tell ended "$status"; return; }}
    sleep 15
  done
  leave_out_unfit_nodes
}}

# Slurm ends the job, and tells the ranks itself: scancel, a lost node, or a time limit that came before the ranks had
# saved themselves, after which the run goes on from its newest checkpoint.
terminated=no
end() {{
  signals=$((signals + 1))
  terminated=yes
  local status=143
  if [ "$SECONDS" -ge {1} ] && [ ! -e "$campaign/journal/$run.stop" ]; then
    again
  else
    tell cancelled "$status"
  fi
}}
trap end TERM
)sh";

constexpr const char* kGuard = R"sh(
# Where an answer of sbatch was lost, the run may have been submitted again: the newest job trains it.
newest=$(grep -F '"submitting"' "$submissions" 2>/dev/null | grep -F "\"$run\"" |
  grep -vFf <(grep -sF '"refused"' "$submissions" | grep -o '"submission":"[^"]*"') | tail -n 1)
if [ "$submission" != "by hand" ] && [ -n "$newest" ] && [[ $newest != *"\"$submission\""* ]]; then
  echo "$run was submitted again after $submission: job $job leaves it to the newer one"
  exit 0
fi
)sh";

constexpr const char* kTrain = R"sh(status=$?
if [ "$signals" -gt 0 ] || [ -e "$campaign/journal/$run.stop" ]; then
  status=75  # told to stop before training began
fi
if [ "$status" -eq 0 ]; then
  on_ranks train "$campaign/configs/$run.toml" --resume
  status=$?
fi
)sh";

// Slurm looks at time limits now and then only; this much before the limit nobody else ends a job by chance.
constexpr std::int64_t kNearTheLimit = 5;  // seconds

}  // namespace

std::vector<JobPlan> job_plans(const Campaign& campaign, const std::string& group) {
  constexpr std::uint64_t kLargestTask = 1000;  // Slurm's MaxArraySize is 1001 unless a site sets it
  const std::vector<const RunEntry*> runs = campaign.runs_of(group);
  const bool array = runs.size() > 1 && std::all_of(runs.begin(), runs.end(),
                                                    [](const RunEntry* run) { return run->seed <= kLargestTask; });
  if (array) return {{group, runs}};
  std::vector<JobPlan> plans;
  for (const RunEntry* run : runs) plans.push_back({run->name, {run}});
  return plans;
}

std::string array_of(const Campaign& campaign, const std::vector<std::string>& tasks) {
  const int most = campaign.resources.at_once;
  return fmt::format("{}{}", fmt::join(tasks, ","), most > 0 ? fmt::format("%{}", most) : "");
}

std::string slurm_script(const Campaign& campaign, const JobPlan& plan, const std::filesystem::path& program) {
  const Site& site = *campaign.site;
  Script script;
  script.line("#!/bin/bash");
  job_options(campaign, plan, script);
  script.line();
  script.line(words_about(campaign, *plan.runs.front()));
  script.lines(
      R"sh(# Written and submitted by `headroom campaign run`. It trains from the newest checkpoint, and goes back into the
# queue until the run is done or more time would not help. What it does it tells in journal/, which is what
# `headroom campaign status` reads.

)sh");
  names(campaign, plan, script);
  script.line();
  script.line(fmt::format("# ---- {} ----", site.name));
  site_lines(site, script);
  launch_lines(campaign, program, script);
  script.lines(kTell);
  script.lines(kScriptFunctions);
  script.lines(fmt::format(kAgain, campaign.budget.restarts, campaign.resources.seconds - kNearTheLimit));
  script.lines(kGuard);
  script.line();
  script.line("# ---- are the nodes fit, and then: train ----");
  script.line("echo \"== $run: job $job, start $((${SLURM_RESTART_COUNT:-0} + 1)), on $SLURM_JOB_NODELIST, $(date)\"");
  script.line("tell started 0");
  script.line("checkpoint=$(newest_checkpoint)");
  script.line("tolerate=()");
  script.line("[ ! -e \"$no_spares\" ] || tolerate=(--tolerate-slow)  # there are no other nodes");
  script.line(fmt::format(
      "on_ranks preflight --device {} --directory \"$campaign/runs\" --bad-nodes \"$unfit\" \\\n"
      "  --record \"$campaign/logs/$run.preflight.json\" --timeout {} --max-skew {} --slow-ratio {} "
      "\"${{tolerate[@]}}\"",
      campaign.resources.gpus_per_node > 0 ? "cuda" : "cpu", site.preflight_seconds, site.max_skew, site.slow_ratio));
  script.lines(kTrain);
  script.lines(kScriptOutcome);
  return std::move(script).text();
}

std::string report_script(const Campaign& campaign, const std::filesystem::path& program) {
  const Site& site = *campaign.site;
  Script script;
  script.line("#!/bin/bash");
  script.option(fmt::format("--job-name={}-report", campaign.name));
  if (site.report.partition.empty()) {
    site_options(site, script);
  } else {
    script.option("--partition=" + quoted(site.report.partition));
    optional_option(script, "account", site.account);
  }
  for (const std::string& option : site.report.options) script.option(option);
  script.option("--nodes=1");
  script.option("--ntasks=1");
  if (site.report.memory_gb > 0) script.option(fmt::format("--mem={}G", site.report.memory_gb));
  script.option("--time=" + duration_text(report_seconds(campaign)));
  script.option("--open-mode=append");
  script.option(output_option(campaign, "report"));
  script.line();
  script.line(fmt::format(
      "# The report over all runs of the campaign {}. Submitted by `headroom campaign run` behind their jobs;",
      campaign.name));
  script.line("# it also runs when some of them failed, and says which.");
  script.line();
  site_lines(site, script);
  script.line(fmt::format("{}{} campaign report {}", site.container.empty() ? "" : site.container + " ",
                          quoted(program.string()), quoted(campaign.directory.string())));
  return std::move(script).text();
}

std::int64_t report_seconds(const Campaign& campaign) {
  constexpr std::int64_t kHour = 3600;
  const std::int64_t wanted = campaign.site->report.seconds;
  return wanted > 0 ? wanted : std::min(kHour, campaign.resources.seconds);  // the partition takes jobs as long as runs
}

}  // namespace headroom::campaign
