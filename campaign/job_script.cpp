#include "campaign/job_script.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/progress.h"
#include "campaign/duration.h"

namespace headroom::campaign {
namespace {

// Text as one word of bash.
std::string quoted(const std::string& text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || std::string("-_./+:=,@%").find(static_cast<char>(c)) != std::string::npos;
  });
  if (plain) return text;
  std::string word = "'";
  for (const char c : text) {
    if (c == '\'') {
      word += "'\\''";
    } else {
      word += c;
    }
  }
  return word + "'";
}

class Script {
 public:
  void line(const std::string& text = "") { text_ += text + "\n"; }
  void option(const std::string& option, const std::string& comment = "") {
    const std::string directive = "#SBATCH " + option;
    line(comment.empty() ? directive : fmt::format("{:<42} # {}", directive, comment));
  }
  void lines(const char* text) { text_ += text; }
  std::string text() && { return std::move(text_); }

 private:
  std::string text_;
};

}  // namespace

std::string array_of(const Campaign& campaign, const std::vector<std::string>& tasks) {
  const int most = campaign.resources.at_once;
  return fmt::format("{}{}", fmt::join(tasks, ","), most > 0 ? fmt::format("%{}", most) : "");
}

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

void site_options(const Site& site, Script& script) {
  script.option("--partition=" + quoted(site.partition));
  const auto optional = [&](const char* name, const std::string& value) {
    if (!value.empty()) script.option(fmt::format("--{}={}", name, quoted(value)));
  };
  optional("account", site.account);
  optional("qos", site.qos);
  optional("constraint", site.constraint);
  optional("reservation", site.reservation);
  for (const std::string& option : site.options) script.option(option);
}

void job_options(const Campaign& campaign, const JobPlan& plan, Script& script) {
  const Resources& resources = campaign.resources;
  const Site& site = *campaign.site;
  script.option(fmt::format("--job-name={}-{}", campaign.name, plan.name));
  if (plan.array()) {
    script.option("--array=" + array_of(campaign, {seeds_text(plan)}), "a task a seed");
  }
  site_options(site, script);
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
  script.option("--time=" + duration_text(resources.seconds));
  script.option(
      fmt::format("--signal=B:USR1@{}", resources.warning),
      fmt::format("to this script, {} before the end", format_duration(static_cast<double>(resources.warning))));
  script.option("--requeue", "when a node is lost");
  script.option("--open-mode=append", "a requeued job goes on in its log");
  const std::string log = plan.array() ? plan.runs.front()->group + "-seed%a" : plan.runs.front()->name;
  script.option(output_option(campaign, log));
}

void words_about(const Campaign& campaign, const JobPlan& plan, Script& script) {
  const Resources& resources = campaign.resources;
  script.line(fmt::format("# {} of the campaign {}: {} steps of {} tokens on {} x {} ranks.", plan.runs.front()->label,
                          campaign.name, plan.runs.front()->steps, plan.runs.front()->tokens_per_step, resources.nodes,
                          resources.ranks_per_node));
}

// Shared by both: what a job writes down, and how signals get to the ranks.
constexpr const char* kOnRanks = R"sh(
# Half a line, of a script that was killed or a disk that was full, must not swallow the next one.
mend_journal() {
  [ -z "$(tail -c 1 "$attempts" 2>/dev/null)" ] || sed -i '$d' "$attempts"
}

# Runs a verb of headroom on all ranks. A signal for this script reaches them at once; bash would wait for them first.
signals=0
terminated=no
child=
trap 'signals=$((signals + 1)); [ -z "$child" ] || kill -USR1 "$child"' USR1
trap 'signals=$((signals + 1)); terminated=yes; [ -z "$child" ] || kill -TERM "$child"' TERM
on_ranks() {
  local seen=none status
  "${launch[@]}" "${headroom[@]}" "$@" &
  child=$!
  [ "$signals" -eq 0 ] || kill -USR1 "$child"  # came while it was started
  until [ "$seen" = "$signals" ]; do  # a signal ends `wait`, not the ranks
    seen=$signals
    wait "$child"
    status=$?
  done
  child=
  return "$status"
}
)sh";

constexpr const char* kOutcome = R"sh(
# ---- what becomes of it (docs/exit-codes.md) ----
if [ "$terminated" = yes ]; then  # scancel, the time limit, a lost node; the ranks' exit code then means nothing
  tell cancelled "$status"
elif [ "$status" -eq 0 ]; then
  tell ended 0
elif [ -e "$campaign/journal/$run.stop" ]; then  # headroom campaign stop
  tell stopped "$status"
elif [ "$status" -eq 75 ] || [ "$status" -eq 7 ] || [ "$status" -gt 128 ]; then
  again  # saved itself, or ranks lost each other, or were killed
else
  tell ended "$status"  # more time would not help
fi
exit "$status"
)sh";

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

std::string slurm_script(const Campaign& campaign, const JobPlan& plan, const std::filesystem::path& program) {
  const Resources& resources = campaign.resources;
  const Site& site = *campaign.site;
  Script script;
  script.line("#!/bin/bash");
  job_options(campaign, plan, script);
  script.line();
  words_about(campaign, plan, script);
  script.line(
      "# Written and submitted by `headroom campaign run`. It trains from the newest checkpoint, and goes back into "
      "the");
  script.line(
      "# queue until the run is done or more time would not help. What it does it tells in journal/, which is what");
  script.line("# `headroom campaign status` reads.");
  script.line();
  script.line("campaign=" + quoted(campaign.directory.string()));
  if (plan.array()) {
    script.line(fmt::format("run={}-seed$SLURM_ARRAY_TASK_ID", plan.runs.front()->group));
    script.line("job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID");
  } else {
    script.line("run=" + plan.runs.front()->name);
    script.line("job=$SLURM_JOB_ID");
  }
  script.line("attempts=$campaign/journal/$run.attempts.jsonl");
  script.line("submission=$1");

  script.line();
  script.line(fmt::format("# ---- {} ----", site.name));
  for (const std::string& line : site.setup) script.line(line);
  for (const auto& [name, value] : site.environment) script.line(fmt::format("export {}={}", name, quoted(value)));
  script.line(fmt::format("export OMP_NUM_THREADS={}", resources.threads));
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

  script.lines(R"sh(
# ---- helpers ----
# Writes down what happens: tell EVENT [STATUS]
tell() {
  mend_journal
  printf '{"time": "%s", "event": "%s", "status": %d, "job": "%s", "submission": "%s", "nodes": "%s", "process": %d}\n' \
    "$(date -u +%FT%TZ)" "$1" "${2:-0}" "$job" "$submission" "$SLURM_JOB_NODELIST" $$ >>"$attempts"
}
)sh");
  script.lines(kOnRanks);
  script.line();
  script.line("# Back into the queue, where the job keeps its number; unfit nodes are left out from now on.");
  script.line("again() {");
  script.line(fmt::format("  if [ \"${{SLURM_RESTART_COUNT:-0}}\" -ge {} ]; then", campaign.budget.restarts));
  script.line("    tell 'gave up' \"$status\"");
  script.line("    return");
  script.line("  fi");
  script.lines(R"sh(  tell requeued "$status"
  trap '' TERM  # what requeueing sends to this script
  local excluded=""
  if [ -s "$unfit" ]; then
    excluded=$({ squeue --noheader --jobs="$job" --format=%x; cat "$unfit"; } | grep -v -e null -e '^$' |
      sort -u | paste -sd,)
  fi
  scontrol requeue "$job" || tell ended "$status"
  [ -z "$excluded" ] || scontrol update JobId="$job" ExcNodeList="$excluded"
}
)sh");
  script.line();
  script.line("# Where an answer of sbatch was lost, the run may have been submitted again: the newest job trains it.");
  script.line(fmt::format("newest=$(grep -F '\"submitting\"' \"$campaign/journal/{}.submissions.jsonl\" |",
                          plan.runs.front()->group));
  script.lines(R"sh(  grep -F "\"$run\"" | tail -n 1)
if [ -n "$newest" ] && [[ $newest != *"\"$submission\""* ]]; then
  echo "$run was submitted again after $submission: job $job leaves it to the newer one"
  exit 0
fi
)sh");
  script.line();
  script.line("# ---- are the nodes fit, and then: train ----");
  script.line("tell started");
  script.line("unfit=$campaign/journal/$run.unfit-nodes");
  script.line(
      fmt::format("on_ranks preflight --directory \"$campaign/runs\" --record \"$campaign/logs/$run.preflight.json\" "
                  "--bad-nodes \"$unfit\" \\\n  --max-skew {} --slow-ratio {}",
                  site.max_skew, site.slow_ratio));
  script.lines(R"sh(status=$?
if [ "$signals" -gt 0 ] || [ -e "$campaign/journal/$run.stop" ]; then
  status=75  # told to stop before training began
fi
if [ "$status" -eq 0 ]; then
  on_ranks train "$campaign/configs/$run.toml" --resume
  status=$?
fi
)sh");
  script.lines(kOutcome);
  return std::move(script).text();
}

std::string report_script(const Campaign& campaign, const std::filesystem::path& program) {
  const Site& site = *campaign.site;
  Script script;
  script.line("#!/bin/bash");
  script.option(fmt::format("--job-name={}-report", campaign.name));
  site_options(site, script);
  script.option("--nodes=1");
  script.option("--ntasks=1");
  script.option("--time=01:00:00");
  script.option("--open-mode=append");
  script.option(output_option(campaign, "report"));
  script.line();
  script.line(fmt::format(
      "# The report over all runs of the campaign {}. Submitted by `headroom campaign run` behind their jobs;",
      campaign.name));
  script.line("# it also runs when some of them failed, and says which.");
  script.line();
  for (const std::string& line : site.setup) script.line(line);
  for (const auto& [name, value] : site.environment) script.line(fmt::format("export {}={}", name, quoted(value)));
  script.line(fmt::format("{}{} campaign report {}", site.container.empty() ? "" : site.container + " ",
                          quoted(program.string()), quoted(campaign.directory.string())));
  return std::move(script).text();
}

std::string local_script(const Campaign& campaign, const RunEntry& run, const std::filesystem::path& program) {
  const JobPlan plan{run.name, {&run}};
  Script script;
  script.line("#!/bin/bash");
  words_about(campaign, plan, script);
  script.line(
      "# Started by `headroom campaign run` with a slot's number and its cores, and goes on without it if need be.");
  script.line();
  script.line("set -u");
  script.line("campaign=" + quoted(campaign.directory.string()));
  script.line("run=" + run.name);
  script.line("attempts=$campaign/journal/$run.attempts.jsonl");
  script.line("slot=$1");
  script.line("cores=$2");
  script.line();
  script.line("# Held as long as this script or its ranks live: a second one leaves at once.");
  script.line("exec 9>>\"$campaign/journal/$run.alive\"");
  script.line("flock --nonblock 9 || exit 0");
  script.line();
  if (campaign.resources.threads > 0) script.line(fmt::format("export OMP_NUM_THREADS={}", campaign.resources.threads));
  if (campaign.resources.gpus_per_node > 0) {
    const int gpus = campaign.resources.gpus_per_node;
    script.line(fmt::format("CUDA_VISIBLE_DEVICES=$(seq -s, $((slot * {0})) $((slot * {0} + {0} - 1)))", gpus));
    script.line("export CUDA_VISIBLE_DEVICES");
  }
  script.line(fmt::format("launch=(taskset --cpu-list \"$cores\" mpirun -n {} --oversubscribe --bind-to none)",
                          campaign.resources.ranks()));
  script.line("headroom=(" + quoted(program.string()) + ")");
  script.lines(R"sh(
# ---- helpers ----
# Writes down what happens: tell EVENT [STATUS]
tell() {
  mend_journal
  printf '{"time": "%s", "event": "%s", "status": %d, "submission": "local", "nodes": "%s", "process": %d, "slot": %d}\n' \
    "$(date -u +%FT%TZ)" "$1" "${2:-0}" "$(hostname)" $$ "$slot" >>"$attempts"
}
)sh");
  script.lines(kOnRanks);
  script.lines(R"sh(
# The driver starts it again when there is room.
again() { tell requeued "$status"; }

# ---- train ----
tell started
status=75
if [ ! -e "$campaign/journal/$run.stop" ]; then  # told to stop before training began
  on_ranks train "$campaign/configs/$run.toml" --resume
  status=$?
fi
)sh");
  script.lines(kOutcome);
  return std::move(script).text();
}

}  // namespace headroom::campaign
