#!/bin/bash
# What splitting a step over ranks costs: two ranks with one thread each, as data parallel 2 and as tensor parallel 2,
# against one rank with two threads; and whether the bytes that went between ranks are those the formula says.
# Prints a table; the last line is the same as JSON.
#
#   bench/layouts.sh [--rounds N] [--steps N] [--config FILE]
#
#   --rounds N    how often each layout takes its turn (default: 3)
#   --steps N     steps that count in each turn (default: 8)
#   --config FILE the step's shape (default: configs/bench.toml)
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=launch/lib.sh
source launch/lib.sh
# shellcheck source=bench/lib.sh
source bench/lib.sh

rounds=3
steps=8
config=configs/bench.toml
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    --rounds | --steps | --config)
      [ $# -ge 2 ] || { echo "layouts: $1 needs a value" >&2; exit 2; }
      declare "${1#--}=$2"
      shift
      ;;
    *)
      echo "layouts: unknown option '$1' (see --help)" >&2
      exit 2
      ;;
  esac
  shift
done

launch/dependencies.sh run test
need_program
mpi_environment

# bench RANKS BINDING THREADS TENSOR
bench() {
  last_json mpirun -n "$1" --bind-to "$2" build/headroom bench "$config" --set "train.steps=$steps" \
    --set "parallel.threads=$3" --set "parallel.tensor=$4"
}

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
for ((round = 1; round <= rounds; round++)); do
  echo "round $round of $rounds: 1 rank x 2 threads, data parallel 2, tensor parallel 2" >&2
  bench 1 none 2 1 >>"$results/one"
  bench 2 core 1 1 >>"$results/data"
  bench 2 core 1 2 >>"$results/tensor"
done

python3 - "$results" <<'END'
import json
import pathlib
import statistics
import sys

folder = pathlib.Path(sys.argv[1])
runs = {name: [json.loads(line) for line in (folder / name).read_text().splitlines()] for name in ("one", "data", "tensor")}
speed = {name: statistics.median(run["tokens_per_second"] for run in lines) for name, lines in runs.items()}
goals = {"data": 0.9, "tensor": 0.75}
summary = {}
print(f"{'layout':26} {'tokens/s':>9} {'ratio':>7}  {'goal':22} {'bytes a step':>14} {'by formula':>14} {'off by':>8}")
print(f"{'1 rank x 2 threads':26} {speed['one']:9.0f}")
for name, goal in goals.items():
    ratio = speed[name] / speed["one"]
    sent, formula = runs[name][-1]["comm_bytes"], runs[name][-1]["comm_bytes_formula"]
    off = abs(sent / formula - 1)
    verdict = f"at least {goal}: {'met' if ratio >= goal else 'missed'}"
    label = f"{name} parallel 2 x 1 thread"
    print(f"{label:26} {speed[name]:9.0f} {ratio:7.3f}  {verdict:22} {sent:14.0f} {formula:14.0f} {off:8.2%}")
    summary[name] = {"speed_to_one_rank": ratio, "comm_bytes": sent, "comm_bytes_formula": formula, "off": off}
print(json.dumps({**summary, "runs": runs}))
END
