#!/bin/bash
# The forward of a model that verbs look at, and the loss of every token, against transformers on the same cores in one
# paired run; against its own matrix products alone; and what a study's statistics of every layer and sequence add.
# Prints a table of medians and ratios; the last line is the same as JSON.
#
#   bench/compare_transformers.sh [--model DIR] [--rounds N] [--sequences N] [--tokens N] [--threads N]
#
#   --model DIR     a Hugging Face directory (default: random weights of GPT-2 124M's shape, made for this)
#   --rounds N      how often each takes its turn (default: 3)
#   --sequences N   at a time (default: 16)
#   --tokens N      of each (default: 512)
#   --threads N     of each (default: 2)
#
# HEADROOM_PYTHON names a Python with torch and transformers (default: python3).
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=bench/lib.sh
source bench/lib.sh

model=
rounds=3
sequences=16
tokens=512
threads=2
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    --model | --rounds | --sequences | --tokens | --threads)
      [ $# -ge 2 ] || { echo "compare_transformers: $1 needs a value" >&2; exit 2; }
      declare "${1#--}=$2"
      shift
      ;;
    *)
      echo "compare_transformers: unknown option '$1' (see --help)" >&2
      exit 2
      ;;
  esac
  shift
done

need_program
python=${HEADROOM_PYTHON:-python3}
"$python" -c 'import torch, transformers' 2>/dev/null ||
  { echo "compare_transformers: $python has no torch and transformers; HEADROOM_PYTHON names another" >&2; exit 2; }
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
if [ -z "$model" ]; then
  model=$results/gpt2
  "$python" bench/transformers_peer.py --make "$model" >&2
fi

for ((round = 1; round <= rounds; round++)); do
  # Taking turns: what else the machine does meanwhile hits both alike.
  echo "round $round of $rounds: headroom, transformers" >&2
  last_json env "OMP_NUM_THREADS=$threads" build/headroom bench "$model" --rounds 3 --sequences "$sequences" \
    --tokens "$tokens" >>"$results/headroom"
  last_json "$python" bench/transformers_peer.py "$model" --rounds 1 --sequences "$sequences" --tokens "$tokens" \
    --threads "$threads" >>"$results/transformers"
done

"$python" - "$results" <<'END'
import json
import pathlib
import statistics
import sys

folder = pathlib.Path(sys.argv[1])
runs = {name: [json.loads(line) for line in (folder / name).read_text().splitlines()] for name in ("headroom", "transformers")}
middle = lambda name, key: statistics.median(run[key] for run in runs[name])
speed = {name: middle(name, "tokens_per_second") for name in runs}
peer = runs["transformers"][0]
print(f"{'Headroom':40} {speed['headroom']:10.0f} tokens/s")
print(f"{'transformers ' + peer['transformers'] + ', torch ' + peer['torch']:40} {speed['transformers']:10.0f} tokens/s")
goals = {
    "speed_to_transformers": (speed["headroom"] / speed["transformers"], "at least", 1.5),
    "time_to_gemms": (middle("headroom", "to_gemms"), "at most", 1.3),
    "statistics_share": (middle("headroom", "statistics_share"), "at most", 0.1),
}
print(f"\n{'ratio':28} {'value':>10}   goal")
for name, (value, relation, goal) in goals.items():
    met = value >= goal if relation == "at least" else value <= goal
    print(f"{name:28} {value:10.3f}   {relation} {goal}: {'met' if met else 'missed'}")
print(json.dumps({**{name: value for name, (value, _, _) in goals.items()}, "runs": runs}))
END
