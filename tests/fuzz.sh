#!/bin/bash
# Fuzzes every parser of outside bytes with clang's libFuzzer, under the address and undefined-behaviour sanitizers;
# installs what is missing for that. Prints a line a target and fails when an input was found that a parser does not take
# as it should: it then lies in build-fuzz/findings.
#
#   tests/fuzz.sh [options] [SECONDS]     (default: 300 for each target)
#
#   -t TARGET    only this target (tests/fuzz/TARGET.cpp)
#   -j N         N targets at once (default: 1)
#   --help
#
# Inputs that reach new code are kept in build-fuzz/corpus, where the next call goes on from. What was found is mended and
# then added by hand to tests/fuzz/seeds, whose inputs the ordinary suite runs.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=launch/lib.sh
source launch/lib.sh

usage() {
  echo "tests/fuzz.sh: $1 (see tests/fuzz.sh --help)" >&2
  exit 2
}

seconds=300
at_once=1
only=""
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    -t)
      [ -n "${2:-}" ] && [ -d "tests/fuzz/seeds/$2" ] || usage "-t needs a target, not '${2:-}'"
      only=$2
      shift
      ;;
    -j)
      [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || usage "-j needs a number of targets, not '${2:-}'"
      at_once=$2
      shift
      ;;
    *)
      [[ $1 =~ ^[1-9][0-9]*$ ]] || usage "unknown option '$1'"
      seconds=$1
      ;;
  esac
  shift
done

targets=()
for directory in tests/fuzz/seeds/*/; do
  name=$(basename "$directory")
  if [ -z "$only" ] || [ "$name" = "$only" ]; then targets+=("$name"); fi
done

# Inputs become files, thousands a second: in memory where there is such a place.
memory=${TMPDIR:-/tmp}
if [ -d /dev/shm ] && [ -w /dev/shm ]; then memory=/dev/shm; fi
TMPDIR=$(mktemp -d "$memory/headroom-fuzz-XXXXXX")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

# fuzz TARGET: one target's run, with its output in build-fuzz/TARGET.log and its status in build-fuzz/TARGET.status.
fuzz() {
  local target=$1 status=0 options=()
  mkdir -p "build-fuzz/corpus/$target" build-fuzz/findings
  [ ! -f "tests/fuzz/$target.dict" ] || options+=("-dict=tests/fuzz/$target.dict")
  "build-fuzz/fuzz_$target" "build-fuzz/corpus/$target" "tests/fuzz/seeds/$target" "${options[@]}" \
    -max_total_time="$SECONDS_EACH" -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=512 -print_final_stats=1 \
    -artifact_prefix="build-fuzz/findings/$target-" >"build-fuzz/$target.log" 2>&1 || status=$?
  echo "$status" >"build-fuzz/$target.status"
}

# fuzz_all N TARGET...: N at once. Runs in a shell of its own, under run_logged.
fuzz_all() {
  local at_once=$1 target
  shift
  for target in "$@"; do
    while [ "$(jobs -rp | wc -l)" -ge "$at_once" ]; do wait -n; done
    fuzz "$target" &
  done
  wait
}

# A target's line, from the numbers that libFuzzer's log ends with; fails where there is a finding.
summary() {
  local target=$1 log=build-fuzz/$1.log status executions corpus found
  status=$(cat "build-fuzz/$target.status")
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  corpus=$(grep -aoE 'corp: [0-9]+' "$log" | tail -n 1 || true)
  found=$(grep -aoE 'build-fuzz/findings/[^ ]+-[0-9a-f]{40}' "$log" | sort -u | paste -sd ' ' || true)
  [ "$status" = 0 ] || found="FOUND ${found:-nothing that was kept, but exit status $status}"
  echo "$target: ${executions:-0} executions, ${corpus#corp: } inputs in the corpus, ${found:-no findings}"
  [ "$status" = 0 ]
}

export SECONDS_EACH=$seconds
export -f fuzz fuzz_all
rounds=$(((${#targets[@]} + at_once - 1) / at_once))
stages_begin "Packages|30" "Build with clang|420" "Fuzzing|$((rounds * (seconds + 5)))"
stage
install_packages build-fuzz/packages.log build fuzz
stage_end
stage
run_logged build-fuzz/configure.log unknown_share cmake -G Ninja -S . -B build-fuzz -DHEADROOM_FUZZ=ON \
  -DHEADROOM_TESTS=OFF -DHEADROOM_CUDA=OFF -DHEADROOM_WERROR=OFF -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++
run_logged build-fuzz/build.log ninja_share ninja -C build-fuzz -j "$(build_jobs)" fuzz_targets
stage_end
stage
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 OMP_NUM_THREADS=1
export LSAN_OPTIONS=suppressions=$PWD/tests/lsan.supp:print_suppressions=0
run_logged build-fuzz/fuzz.log unknown_share bash -c 'fuzz_all "$@"' fuzz "$at_once" "${targets[@]}"
stage_end
failed=0
for target in "${targets[@]}"; do summary "$target" || failed=1; done
if [ $failed = 1 ]; then
  echo "Findings: build-fuzz/TARGET.log says what happened, build-fuzz/fuzz_TARGET FILE shows it again." >&2
fi
exit $failed
