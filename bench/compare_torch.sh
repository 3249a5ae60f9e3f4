#!/bin/bash
# Headroom's training step against eager PyTorch's, the same model on the same cores in one paired run: as Debian's
# python3-torch comes (with libblas3, the BLAS that it depends on), with OpenBLAS (OpenMP) in its place, and tuned
# (OpenBLAS and an allocator that keeps and huge-pages its memory).
# Prints a table of medians and ratios; the last line is the same as JSON.
#
#   bench/compare_torch.sh [--rounds N] [--steps N] [--threads N] [--config FILE]
#
#   --rounds N    how often each takes its turn (default: 3); PyTorch as it comes, which needs a minute a step, only
#                 once, for two steps
#   --steps N     steps that count in each turn (default: 8)
#   --threads N   threads of each (default: 2)
#   --config FILE the step's shape (default: configs/bench.toml)
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=bench/lib.sh
source bench/lib.sh

rounds=3
steps=8
threads=2
config=configs/bench.toml
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    --rounds | --steps | --threads | --config)
      [ $# -ge 2 ] || { echo "compare_torch: $1 needs a value" >&2; exit 2; }
      declare "${1#--}=$2"
      shift
      ;;
    *)
      echo "compare_torch: unknown option '$1' (see --help)" >&2
      exit 2
      ;;
  esac
  shift
done

launch/dependencies.sh bench
need_program
# Debian's own Python has Debian's PyTorch; another python3 first in PATH would not.
python=/usr/bin/python3
# Which BLAS the system has chosen depends on what else is installed (ours brings OpenBLAS); each turn names its own.
blas_of() { find /usr/lib -path "*/$1" | head -n 1; }
openblas=$(blas_of openblas-openmp/libblas.so.3)
reference_blas=$(blas_of blas/libblas.so.3)
reference_lapack=$(blas_of lapack/liblapack.so.3)
for file in "$openblas" "$reference_blas" "$reference_lapack"; do
  [ -n "$file" ] || { echo "compare_torch: a BLAS is missing; run launch/dependencies.sh build bench" >&2; exit 2; }
done

headroom() {
  last_json build/headroom bench "$config" --set "train.steps=$steps" --set "parallel.threads=$threads"
}
# torch STEPS ENVIRONMENT...
torch() {
  local count=$1
  shift
  last_json "$@" "$python" bench/torch_peer.py --config "$config" --warmup 1 --steps "$count" --threads "$threads"
}
shipped=(env "LD_LIBRARY_PATH=$(dirname "$reference_blas"):$(dirname "$reference_lapack")")
faster_blas=(env "LD_PRELOAD=$openblas")
tuned=(env "LD_PRELOAD=$openblas" MALLOC_MMAP_THRESHOLD_=8589934592 MALLOC_TRIM_THRESHOLD_=17179869184
  GLIBC_TUNABLES=glibc.malloc.hugetlb=1)

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
for ((round = 1; round <= rounds; round++)); do
  # Taking turns: what else the machine does meanwhile hits all alike.
  echo "round $round of $rounds: headroom, torch with OpenBLAS, torch tuned" >&2
  headroom >>"$results/headroom"
  torch "$steps" "${faster_blas[@]}" >>"$results/openblas"
  torch "$steps" "${tuned[@]}" >>"$results/tuned"
done
echo "torch as it comes" >&2
torch 1 "${shipped[@]}" >"$results/torch"

"$python" - "$results" <<'END'
import json
import pathlib
import statistics
import sys

folder = pathlib.Path(sys.argv[1])
runs = {name: [json.loads(line) for line in (folder / name).read_text().splitlines()] for name in ("headroom", "torch", "openblas", "tuned")}
speed, memory = ({name: statistics.median(run[key] for run in lines) for name, lines in runs.items()}
                 for key in ("tokens_per_second", "peak_memory_bytes"))
version = runs["torch"][0]["torch"]
print(f"{'':28} {'tokens/s':>10} {'peak memory':>14}  BLAS")
labels = {"headroom": "Headroom", "torch": f"torch {version}", "openblas": f"torch {version}, OpenBLAS",
          "tuned": f"torch {version}, tuned"}
for name, label in labels.items():
    blas = runs[name][0].get("blas", "")
    print(f"{label:28} {speed[name]:10.0f} {memory[name] / 2**20:10.0f} MiB  {blas}")
goals = {
    "speed_to_torch": (speed["headroom"] / speed["torch"], "at least", 2.0),
    "speed_to_openblas_torch": (speed["headroom"] / speed["openblas"], "at least", 1.3),
    "speed_to_tuned_torch": (speed["headroom"] / speed["tuned"], "at least", 1.3),
    "memory_to_torch": (memory["headroom"] / memory["torch"], "at most", 0.45),
    "memory_to_tuned_torch": (memory["headroom"] / memory["tuned"], "at most", 0.45),
}
print(f"\n{'ratio':28} {'value':>10}   goal")
for name, (value, relation, goal) in goals.items():
    met = value >= goal if relation == "at least" else value <= goal
    print(f"{name:28} {value:10.3f}   {relation} {goal}: {'met' if met else 'missed'}")
print(json.dumps({**{name: value for name, (value, _, _) in goals.items()}, "runs": runs}))
END
