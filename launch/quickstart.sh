#!/bin/bash
# From a bare Debian 12 to a report on massive activations: installs what is missing, builds Headroom, prepares a corpus
# of English prose, trains six small variants of one model (baseline, TVR, KV bias, DyT, TVR + KV bias, TVR + DyT) and
# compares them. Prints the report's path last. Run again, it reuses what is there and goes on where it stopped.
#
#   launch/quickstart.sh [options]
#
#   --steps N    optimizer steps of each run (default: as configs/demo/base.toml says)
#   --ranks N    MPI ranks to train with (default: 2)
#   --out DIR    where the runs and the report go (default: runs)
#   --fresh      make corpus, runs and report anew
#   --help
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
steps=""
ranks=2
out=runs
fresh=no

usage_error() {
  echo "quickstart: $1 (see launch/quickstart.sh --help)" >&2
  exit 2
}
is_count() { [[ $1 =~ ^[1-9][0-9]*$ ]]; }

while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    --steps | --ranks | --out)
      [ $# -ge 2 ] || usage_error "$1 needs a value"
      case $1 in
        --steps) steps=$2 ;;
        --ranks) ranks=$2 ;;
        --out) out=$(realpath -m -- "$2") ;;
      esac
      shift
      ;;
    --fresh) fresh=yes ;;
    *) usage_error "unknown option '$1'" ;;
  esac
  shift
done
is_count "$ranks" || usage_error "--ranks takes a whole number above 0, not '$ranks'"
[ -z "$steps" ] || is_count "$steps" || usage_error "--steps takes a whole number above 0, not '$steps'"

cd "$root"
# shellcheck source=launch/lib.sh
source launch/lib.sh
mpi_environment

variants=(baseline tvr kv-bias dyt tvr-kv-bias tvr-dyt)
logs=$out/demo-logs
[ -n "$steps" ] || steps=$(sed -n 's/^steps *= *\([0-9]*\).*/\1/p' configs/demo/base.toml)

stages_begin "Packages|60" "Build|240" "Corpus|60" "Training ${#variants[@]} variants|420" "Report|20"
mkdir -p "$logs"
# One at a time: a second quickstart in the same place would train the same runs.
exec 9>"$logs/lock"
flock -n 9 || { echo "quickstart: another quickstart works in $out" >&2; exit 10; }

stage
install_packages "$logs/packages.log" build run
stage_end

stage
build_headroom "$logs"

stage
if [ $fresh = yes ]; then rm -rf corpora/prose; fi
prepare_prose "$logs"

# ---- training --------------------------------------------------------------------------------------------------------
trained=0  # variants finished before this one
share_of_training() {
  local lines
  lines=$(wc -l 2>/dev/null <"$out/demo-${variants[trained]}/metrics.jsonl") || lines=0
  echo $(((1000 * trained + 1000 * (lines < steps ? lines : steps) / steps) / ${#variants[@]}))
}

train_variant() {
  local variant=$1
  local run=$out/demo-$variant
  if [ $fresh = yes ]; then rm -rf "$run"; fi
  # A finished run is found finished; one that began with other settings, steps or corpus is refused by name.
  FAILURE_HINT="To train it anew: give --fresh, or another --out."
  run_logged "$logs/train-$variant.log" share_of_training \
    mpirun -n "$ranks" --bind-to none build/headroom train "configs/demo/$variant.toml" \
    --set "train.steps=$steps" --set "runs_dir=$out" --resume
  FAILURE_HINT=""
}

stage
for variant in "${variants[@]}"; do
  train_variant "$variant"
  trained=$((trained + 1))
done
stage_end "$out/demo-{$(IFS=,; echo "${variants[*]}")}"

stage
run_logged "$logs/analyze.log" unknown_share \
  build/headroom analyze "${variants[@]/#/$out/demo-}" --out "$out/demo-report"
stage_end
tail -n 1 "$logs/analyze.log"
