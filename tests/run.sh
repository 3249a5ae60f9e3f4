#!/bin/bash
# Builds everything and runs every test; installs what is missing for that. The last line is the test runner's summary.
#
#   tests/run.sh [options]
#
#   -R REGEX     only tests whose name matches (as ctest's -R)
#   --sanitize   the unit tests instead, under the address and undefined-behaviour sanitizers (in build-sanitize/)
#   --format     instead: is every file formatted as .clang-format says?
#   --tidy [SECONDS]  instead: clang-tidy over our sources, changed ones first, stopping after SECONDS (default: 0, all)
#   --help
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=launch/lib.sh
source launch/lib.sh

mode=tests
filter=""
seconds=0
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    -R)
      [ $# -ge 2 ] || { echo "tests/run.sh: -R needs a regular expression" >&2; exit 2; }
      filter=$2
      shift
      ;;
    --sanitize | --format) mode=${1#--} ;;
    --tidy)
      mode=tidy
      if [[ ${2:-} =~ ^[0-9]+$ ]]; then
        seconds=$2
        shift
      fi
      ;;
    *)
      echo "tests/run.sh: unknown option '$1' (see tests/run.sh --help)" >&2
      exit 2
      ;;
  esac
  shift
done
if [ -n "$filter" ] && [ "$mode" != tests ]; then
  echo "tests/run.sh: -R goes with the whole suite only" >&2
  exit 2
fi

# A checkout that belongs to another user (a container's mount) is fine for reading.
repository() { git -c safe.directory="$PWD" "$@"; }
our_files() { repository ls-files --cached --others --exclude-standard -- "$@"; }

# build DIRECTORY CMAKE-OPTION...
build() {
  local directory=$1
  shift
  run_logged "$directory/configure.log" unknown_share cmake -G Ninja -S . -B "$directory" -DHEADROOM_TESTS=ON "$@"
  run_logged "$directory/build.log" ninja_share ninja -C "$directory" -j "$(build_jobs)"
}

# ---- format, tidy ----------------------------------------------------------------------------------------------------
check_format() {
  local files
  mapfile -t files < <(our_files '*.h' '*.cpp' '*.cu')
  clang-format --dry-run -Werror "${files[@]}"
  mapfile -t files < <(our_files '*.sh' .ci/run)
  shellcheck -x -S warning "${files[@]}"
  echo "format: all files are as .clang-format and shellcheck want them"
}

check_tidy() {
  stages_begin "clang-tidy|600"
  stage
  run_logged build/configure.log unknown_share cmake -G Ninja -S . -B build -DHEADROOM_TESTS=ON
  run_logged build/generate.log ninja_share ninja -C build headroom_commit
  local changed sources ordered checked
  # What the newest commit and the working tree change comes first.
  changed=$({
    repository diff --name-only HEAD~1 2>/dev/null || true
    repository ls-files --others --exclude-standard
  } | grep '\.cpp$' || true)
  sources=$(our_files '*.cpp')
  ordered=$(awk 'NF && !seen[$0]++' <<<"$changed"$'\n'"$sources" | grep -Fxf <(echo "$sources"))
  checked=build/tidy-checked
  : >"$checked"
  export TIDY_CHECKED=$checked TIDY_UNTIL=$((seconds > 0 ? $(date +%s) + seconds : 0))
  # A file that clang-tidy does not like ends with 1 and is named by its own messages.
  # shellcheck disable=SC2016
  local one='
    [ -f "$1" ] || exit 0
    [ "$TIDY_UNTIL" = 0 ] || [ "$(date +%s)" -lt "$TIDY_UNTIL" ] || exit 0
    echo "$1" >>"$TIDY_CHECKED"
    exec clang-tidy --quiet -p build "$1" 2>/dev/null'
  tidy_share() { echo $((1000 * $(wc -l <"$TIDY_CHECKED") / $(wc -l <<<"$ordered"))); }
  printf '%s\n' "$ordered" >build/tidy-files
  run_logged build/tidy.log tidy_share xargs -a build/tidy-files -n 1 -P "$(nproc)" bash -c "$one" tidy
  stage_end "$(wc -l <"$checked") of $(wc -l <<<"$ordered") files checked, nothing found"
}

# ---- sanitizers ------------------------------------------------------------------------------------------------------
# Test programs whole, not test by test: starting a sanitized program costs more than most tests.
run_sanitized() {
  local program
  stages_begin "Packages|30" "Sanitizer build|600"
  stage
  install_packages build-sanitize/packages.log build run test
  stage_end
  stage
  build build-sanitize -DHEADROOM_SANITIZE=ON
  stage_end
  for program in build-sanitize/*_tests; do STAGES+=("$(basename "$program")|30"); done
  export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:strict_string_checks=1
  export LSAN_OPTIONS=suppressions=$PWD/tests/lsan.supp:print_suppressions=0
  export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
  export OMP_NUM_THREADS=2
  mpi_environment
  for program in build-sanitize/*_tests; do
    stage
    local ranks=()
    case $program in *_mpi_tests | */parallel_tests) ranks=(mpirun -n 2 --bind-to none) ;; esac
    run_logged "$program.log" unknown_share "${ranks[@]}" "$program" --gtest_brief=1
    stage_end "$(grep -aoE '[0-9]+ tests? from [0-9]+ test suites? ran' "$program.log" | tail -n 1)"
  done
}

# ---- the suite -------------------------------------------------------------------------------------------------------
# Passes on what ctest prints of failures; passed tests only move the progress line.
show_tests() {
  awk -v terminal="$([ -t 1 ] && echo 1)" '
    function now(   line) { "date +%s" | getline line; close("date +%s"); return line }  # mawk has no systime
    BEGIN { began = now() }
    / Start +[0-9]+: / { next }
    match($0, /^ *[0-9]+\/[0-9]+ Test +#/) {
      split($1, counts, "/"); done = counts[1]; total = counts[2]
      if ($0 !~ / Passed /) { if (terminal) printf "\r\033[K"; print; }
      elapsed = now() - began
      if ((terminal && (elapsed != last || done == total)) || (!terminal && elapsed >= last + 15)) {
        last = elapsed
        text = sprintf("%d of %d tests, %d s so far, about %d s left", done, total, elapsed, elapsed * (total - done) / done)
        if (terminal) printf "\r\033[K%s", text; else print text
        fflush()
      }
      next
    }
    /tests passed, .*tests failed out of/ || /^Total Test time/ { if (terminal) printf "\r\033[K"; summary = 1; next }
    { if (!summary && NF) print; fflush() }'
}

run_suite() {
  stages_begin "Packages|30" "Build with tests|480" "Tests|240"
  stage
  install_packages build/packages.log build run test
  # What campaigns are tested on is worth having, but not everybody's to install.
  local slurm=""
  launch/dependencies.sh slurm >build/packages-slurm.log 2>&1 ||
    slurm="NO SLURM: its packages cannot be installed (build/packages-slurm.log), so campaigns on it are not tested"
  stage_end "${slurm:-done}"
  stage
  build build
  stage_end
  stage
  stage_label
  mpi_environment
  local log=build/tests.log status=0 skipped
  ctest --test-dir build -j 2 --output-on-failure --no-tests=error ${filter:+-R "$filter"} 2>&1 | tee "$log" | show_tests ||
    status=${PIPESTATUS[0]}
  skipped=$(grep -aE '^ *[0-9]+/[0-9]+ Test .*\*\*\*(Skipped|Not Run)' "$log" || true)
  if [ -n "$skipped" ]; then
    echo
    echo "NOT RUN, $(wc -l <<<"$skipped") tests were skipped (run them with -R NAME -V for the reason):"
    sed 's/^ *[0-9]*\/[0-9]* //' <<<"$skipped"
  fi
  sed -n '/^The following tests FAILED/,/^Errors while/p' "$log"
  grep -a '^Total Test time' "$log" || true
  grep -aE 'tests passed, .*tests failed out of' "$log" || { tail -n 20 "$log"; status=1; }
  return "$status"
}

case $mode in
  format | tidy) launch/dependencies.sh build test check ;;&
  format) check_format ;;
  tidy) check_tidy ;;
  sanitize) run_sanitized ;;
  tests) run_suite ;;
esac
