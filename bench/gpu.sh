#!/bin/bash
# Everything there is to check and measure on a machine with a CUDA GPU, in one command and under nine minutes: the op
# and model suites on the device, losses against the CPU's, layouts on one GPU, the benchmarks and the same models in
# PyTorch, kernel times, compute-sanitizer. Prints one table; writes OUT/gpu.json, OUT/table.txt and OUT/log.txt. Runs in
# the repository, or in a packed folder (ninja pack). docs/gpu.md explains the steps.
#
#   bench/gpu.sh [options]
#
#   --out DIR       where the results go (default: $OUT, else gpu-session)
#   --build DIR     the repository's build directory (default: build)
#   --only LIST     only these steps, separated by commas: doctor suites losses layouts gpt2 llama kernels sanitizer profile
#   --seconds N     the whole takes no longer (default: 525)
#   --python FILE   the Python that has PyTorch (default: the first that is found)
#   --no-torch      leave PyTorch out
#   --smoke         tiny sizes, on the emulated GPU: tries this script where there is no GPU, measures nothing
#
# Ends with 0 if every step succeeded, 1 if one failed (a missed goal of speed is no failure), 2 where there is no GPU.
set -uo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
began=$SECONDS

usage_error() {
  echo "gpu: $1 (see bench/gpu.sh --help)" >&2
  exit 2
}

all_steps=(doctor suites losses layouts gpt2 llama kernels sanitizer profile)
out=${OUT:-gpu-session}
build=$root/build
only=""
seconds=525
python=""
with_torch=yes
smoke=no
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    --out | --build | --only | --seconds | --python)
      [ $# -ge 2 ] || usage_error "$1 needs a value"
      declare "${1#--}=$2"
      shift
      ;;
    --no-torch) with_torch=no ;;
    --smoke) smoke=yes ;;
    *) usage_error "unknown option '$1'" ;;
  esac
  shift
done
[[ $seconds =~ ^[1-9][0-9]*$ ]] || usage_error "--seconds takes a whole number above 0, not '$seconds'"
for name in ${only//,/ }; do
  [[ " ${all_steps[*]} " == *" $name "* ]] || usage_error "no step '$name'; there are: ${all_steps[*]}"
done
deadline=$((began + seconds))

# ---- where everything is ---------------------------------------------------------------------------------------------
if [ -e "$root/env.sh" ]; then
  bin=$root/bin libraries=$root/lib
  PATH=$bin:$PATH  # mpirun
else
  bin=$(realpath -m -- "$build") libraries=$bin
fi
if [ ! -x "$bin/headroom" ]; then
  echo "gpu: $bin/headroom is missing; build it first (ninja -C $bin)" >&2
  exit 2
fi
if [ $smoke = yes ]; then export HEADROOM_CUDA_LIBRARY=${HEADROOM_CUDA_LIBRARY:-$libraries/libheadroom_cuda_emulated.so}; fi
mkdir -p "$out" || exit 2
out=$(cd "$out" && pwd)
cd "$root" || exit 2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
results=$work/results
: >"$results"
: >"$out/log.txt"
# shellcheck source=launch/lib.sh
source "$root/launch/lib.sh"
mpi_environment
trap 'rm -rf "$work"; echo "gpu: interrupted" >&2; exit 130' INT TERM
export HEADROOM_CUBLASLT_CACHE=${HEADROOM_CUBLASLT_CACHE:-$work/cublaslt}  # products are timed once for all runs

if ! "$bin/headroom" doctor --need-gpu >"$work/doctor" 2>&1; then
  cat "$work/doctor" >&2
  echo "gpu: no GPU can be used here, so there is nothing to do; the reason is above" >&2
  exit 2
fi

# ---- steps -----------------------------------------------------------------------------------------------------------
# A step is a function of bench/gpu_steps.sh. It runs with its output in a log, under a time limit of its own; it says
# what came out in `note`, and by its status (or `verdict`) how it went.
selected() { [ -z "$only" ] || [[ ",$only," == *",$1,"* ]]; }

# result KIND FIELD...: a line for the table and gpu.json (bench/gpu_table.awk says which there are).
result() {
  local IFS=$'\t'
  echo "$*" >>"$results"
}

# limited COMMAND...: ends it when the step's time is over (status 124).
limited() {
  local left=$((step_ends - SECONDS))
  [ $left -gt 0 ] || return 124
  timeout -k 3 "$left" "$@"
}

# step GROUP NAME LIMIT FUNCTION ARGUMENT...
failed=0
step() {
  local group=$1 name=$2 limit=$3 begin=$SECONDS status=0
  shift 3
  selected "$group" || return 0
  note="" verdict=""
  step_ends=$((SECONDS + limit < deadline ? SECONDS + limit : deadline))
  if [ $((deadline - SECONDS)) -lt 5 ]; then
    verdict=FAILED note="not begun: the time was over (--seconds $seconds)"
  else
    [ ! -t 2 ] || printf '\r\033[K%s ...' "$name" >&2
    "$@" >"$work/log" 2>&1 || status=$?
    [ ! -t 2 ] || printf '\r\033[K' >&2
    if [ -z "$verdict" ]; then if [ $status = 0 ]; then verdict=ok; else verdict=FAILED; fi; fi
    if [ $status -ne 0 ] && [ $SECONDS -ge $step_ends ]; then note+=${note:+; }"stopped after $((SECONDS - begin)) s"; fi
    { echo "==== $name: $verdict $note"; cat "$work/log"; echo; } >>"$out/log.txt"
  fi
  printf '%-24s %-8s %4d s  %s\n' "$name" "$verdict" $((SECONDS - begin)) "$note"
  result step "$name" "$verdict" $((SECONDS - begin)) "$note"
  if [ "$verdict" = FAILED ]; then
    failed=$((failed + 1))
    [ ! -s "$work/log" ] || tail -n 12 "$work/log" | sed 's/^/  | /'
  fi
  : >"$work/log"
}

# shellcheck source=bench/gpu_steps.sh
source "$root/bench/gpu_steps.sh"

result fact date "$(date -u +%F)"
result fact version "$("$bin/headroom" --version 2>/dev/null | head -n 1)"
result fact device "$(device_line)"
result fact libraries "$(library_line)"
[ $smoke = no ] || result fact smoke yes

step doctor doctor 30 step_doctor
step suites "tensor suite" 100 step_suite tensor_tests 1
step suites "model suite" 60 step_suite model_tests 1
step suites "trainer suite, 2 ranks" 60 step_suite trainer_mpi_tests 2
for program in optim_tests model_mpi_tests optim_mpi_tests analysis_mpi_tests; do  # as far as they have any
  ranks=1
  [[ $program != *_mpi_* ]] || ranks=2
  [ "$(count_gpu_tests $program)" = 0 ] || step suites $program 40 step_suite $program $ranks
done
if selected losses || selected layouts; then step_ends=$((SECONDS + 20)); make_corpus; fi
step losses "losses to the CPU's" 90 step_losses
step layouts "layouts, one GPU" 60 step_layouts staged
[ "$(count_devices)" -lt 2 ] || step layouts "layouts, NCCL" 60 step_layouts nccl
bench_model gpt2 gpt2-124m
bench_model llama llama-1b
step kernels "kernel times, GPT-2" 40 step_kernels gpt2-124m
step kernels "kernel times, LLaMA" 40 step_kernels llama-1b
step sanitizer compute-sanitizer 75 step_sanitizer
step profile nsys 40 step_nsys
step profile ncu 40 step_ncu

result fact seconds $((SECONDS - began))
if ! awk -v json="$out/gpu.json" -f "$root/bench/gpu_table.awk" "$results" | tee "$out/table.txt"; then
  failed=$((failed + 1))
  cp "$results" "$out/results.txt"
  echo "gpu: the table could not be made; its lines are in $out/results.txt" >&2
fi
echo
echo "$out: gpu.json, table.txt, log.txt; $((SECONDS - began)) s in all"
if [ $failed -gt 0 ]; then
  echo "gpu: $failed step(s) FAILED" >&2
  exit 1
fi
