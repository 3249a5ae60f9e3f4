#include "campaign/script.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace headroom::campaign {

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

void Script::option(const std::string& option, const std::string& comment) {
  const std::string directive = "#SBATCH " + option;
  line(comment.empty() ? directive : fmt::format("{:<42} # {}", directive, comment));
}

std::string words_about(const Campaign& campaign, const RunEntry& run) {
  return fmt::format("# {} of the campaign {}: {} steps of {} tokens on {} x {} ranks.", run.label, campaign.name,
                     run.steps, run.tokens_per_step, campaign.resources.nodes, campaign.resources.ranks_per_node);
}

const char* const kScriptFunctions = R"sh(
# Half a line, of a script that was killed or a disk that was full, must not swallow the next one.
mend_journal() {
  [ -z "$(tail -c 1 "$attempts" 2>/dev/null)" ] || sed -i '$d' "$attempts"
}

newest_checkpoint() {
  find "$campaign/runs/$run/checkpoints" -name 'step-*[0-9]' -printf '%f\n' 2>/dev/null | sort | tail -n 1
}

# How often the run has begun since it last made a checkpoint, or since somebody asked for it.
starts_in_vain() {
  awk '/"started"/ { n++ } /"progress": true|"retried"/ { n = 0 } END { print n + 0 }' "$attempts"
}

# Runs a verb of headroom on all ranks. A signal for this script reaches them at once, and only once; bash would wait
# for them first.
on_ranks() {
  local seen=none status
  "${launch[@]}" "${headroom[@]}" "$@" &
  child=$!
  [ "$signals" -eq 0 ] || kill -USR1 "$child"  # came while it was started
  until [ "$seen" = "$signals" ]; do  # each signal ends `wait`, though the ranks go on
    seen=$signals
    wait "$child"
    status=$?
  done
  child=
  return "$status"
}
signals=0
child=
stop_ranks() {
  signals=$((signals + 1))
  [ "$signals" -gt 1 ] || [ -z "$child" ] || kill -USR1 "$child"
}
trap stop_ranks USR1
)sh";

const char* const kScriptOutcome = R"sh(
# ---- what becomes of it (docs/exit-codes.md) ----
if [ "$terminated" = yes ]; then
  exit 143  # the ranks' status means nothing then
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

}  // namespace headroom::campaign
