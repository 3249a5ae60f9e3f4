#include <fmt/format.h>

#include "campaign/job_script.h"
#include "campaign/script.h"

namespace headroom::campaign {
namespace {

constexpr const char* kTell = R"sh(
# ---- helpers ----
# Writes down what happens: tell EVENT STATUS [further fields]
tell() {
  mend_journal
  printf '{"time": "%s", "event": "%s", "status": %d, "submission": "local", "nodes": "%s", "process": %d, "slot": %d%s}\n' \
    "$(date -u +%FT%TZ)" "$1" "$2" "$(hostname)" $$ "$slot" "${3:-}" >>"$attempts"
}
)sh";

constexpr const char* kAgain = R"sh(
# The driver begins it again when there is room. A run that was told to pause has not begun in vain.
again() {
  local progress=true
  [ "$signals" -gt 0 ] || [ "$(newest_checkpoint)" != "$checkpoint" ] || progress=false
  tell requeued "$status" ", \"progress\": $progress"
}

# Somebody ends this script, and means its ranks.
terminated=no
end() {
  signals=$((signals + 1))
  terminated=yes
  [ -z "$child" ] || kill -TERM "$child"
  tell cancelled 143
}
trap end TERM
)sh";

constexpr const char* kTrain = R"sh(
# ---- train ----
tell started 0
checkpoint=$(newest_checkpoint)
status=75
if [ ! -e "$campaign/journal/$run.stop" ]; then  # told to stop before training began
  on_ranks train "$campaign/configs/$run.toml" --resume
  status=$?
fi
)sh";

}  // namespace

std::string local_script(const Campaign& campaign, const RunEntry& run, const std::filesystem::path& program) {
  Script script;
  script.line("#!/bin/bash");
  script.line(words_about(campaign, run));
  script.line(
      "# Started by `headroom campaign run` with a slot's number, its cores and its GPUs, and goes on without it if "
      "need "
      "be.");
  script.line();
  script.line("set -u");
  script.line("campaign=" + quoted(campaign.directory.string()));
  script.line("run=" + run.name);
  script.line("attempts=$campaign/journal/$run.attempts.jsonl");
  script.line("slot=$1");
  script.line("cores=$2");
  if (campaign.resources.gpus_per_node > 0) script.line("export CUDA_VISIBLE_DEVICES=$3");
  script.lines(R"sh(
# Held as long as this script or its ranks live: a second one leaves. (`status` holds it for an instant to look.)
exec 9>>"$campaign/journal/$run.alive"
flock --wait 2 9 || exit 0

)sh");
  if (campaign.resources.threads > 0) script.line(fmt::format("export OMP_NUM_THREADS={}", campaign.resources.threads));
  script.line(fmt::format("launch=(taskset --cpu-list \"$cores\" mpirun -n {} --oversubscribe --bind-to none)",
                          campaign.resources.ranks()));
  script.line("headroom=(" + quoted(program.string()) + ")");
  script.lines(kTell);
  script.lines(kScriptFunctions);
  script.lines(kAgain);
  script.lines(kTrain);
  script.lines(kScriptOutcome);
  return std::move(script).text();
}

}  // namespace headroom::campaign
