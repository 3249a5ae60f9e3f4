# shellcheck shell=bash
# What the scripts share: stages with progress and an ETA, one way to start MPI programs. Sourced, not run.

# ---- MPI -------------------------------------------------------------------------------------------------------------
# Open MPI refuses root and more ranks than cores unless told; and oversubscribed ranks must not spin.
mpi_environment() {
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  export OMPI_MCA_rmaps_base_oversubscribe=${OMPI_MCA_rmaps_base_oversubscribe:-1}
  export OMPI_MCA_mpi_yield_when_idle=${OMPI_MCA_mpi_yield_when_idle:-1}
  export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
  # Containers forbid reading another process' memory; Open MPI then complains about every message.
  export OMPI_MCA_btl_vader_single_copy_mechanism=${OMPI_MCA_btl_vader_single_copy_mechanism:-none}
}

# Compilers that may run at once: a core each, and about 1 GiB each.
build_jobs() {
  local cores gib
  cores=$(nproc)
  gib=$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo)
  [ "${gib:-1}" -ge 1 ] || gib=1
  echo $((cores < gib ? cores : gib))
}

# ---- stages ----------------------------------------------------------------------------------------------------------
# stages_begin "TITLE|SECONDS" ...   declares all stages with what each should take on two cores
# stage                              begins the next stage
# run_logged LOG DONE COMMAND...     runs COMMAND (a program, no function) with its output in LOG, showing progress
#                                    meanwhile; DONE is a function that prints the stage's share done in per mille, or
#                                    nothing where unknown; it finds LOG in LAST_LOG. When COMMAND fails, prints LOG's
#                                    last lines and exits with its status.
# stage_end [NOTE]
stages_begin() {
  STAGES=("$@")
  STAGE=0
  STARTED=$SECONDS
}

duration() {
  local seconds=$1
  if [ "$seconds" -lt 60 ]; then echo "$seconds s"; else printf '%d min %02d s\n' $((seconds / 60)) $((seconds % 60)); fi
}

stage() {
  STAGE=$((STAGE + 1))
  STAGE_TITLE=${STAGES[STAGE - 1]%|*}
  STAGE_STARTED=$SECONDS
  EXPECTED_LEFT=0
  local later
  for later in "${STAGES[@]:STAGE}"; do EXPECTED_LEFT=$((EXPECTED_LEFT + ${later##*|})); done
  # Later stages at the pace of those done: a slower machine, or one where all is there already.
  local planned=0 taken=$((SECONDS - STARTED))
  for later in "${STAGES[@]:0:STAGE-1}"; do planned=$((planned + ${later##*|})); done
  PACE=100
  if [ $planned -gt 0 ]; then PACE=$((100 * taken / planned)); fi
  if [ $PACE -lt 5 ]; then PACE=5; fi
  EXPECTED_LEFT=$((EXPECTED_LEFT * PACE / 100))
}

stage_label() { echo "[$STAGE/${#STAGES[@]}] $STAGE_TITLE"; }

# One line with share, elapsed and ETA of the whole; rewritten on a terminal.
stage_show() {
  local per_mille=$1 elapsed=$((SECONDS - STAGE_STARTED)) expected=$((${STAGES[STAGE - 1]##*|} * PACE / 100)) left share=""
  if [ -n "$per_mille" ] && [ "$per_mille" -gt 50 ]; then
    left=$((elapsed * (1000 - per_mille) / per_mille))
  else
    left=$((expected > elapsed ? expected - elapsed : 5))
  fi
  [ -z "$per_mille" ] || share=" $((per_mille / 10)) %"
  local line
  line="$(stage_label)$share, $(duration $((SECONDS - STARTED))) so far, about $(duration $((left + EXPECTED_LEFT))) left"
  if [ -t 1 ]; then printf '\r\033[K%s' "$line"; else echo "$line"; fi
}

stage_end() {
  [ ! -t 1 ] || printf '\r\033[K'
  echo "$(stage_label): ${1:-done} ($(duration $((SECONDS - STAGE_STARTED))))"
}

FAILURE_HINT=""  # what to do when the next command fails, beyond what it says itself
fail_with_log() {
  local status=$1 log=$2
  [ ! -t 1 ] || printf '\r\033[K'
  {
    echo "$(stage_label) failed (exit status $status). The last lines of $log:"
    tail -n 30 "$log" | sed 's/^/  | /'
    [ -z "$FAILURE_HINT" ] || echo "$FAILURE_HINT"
  } >&2
  exit "$status"
}

run_logged() {
  local log=$1 done_function=$2 status=0 next=0
  shift 2
  LAST_LOG=$log
  mkdir -p "$(dirname "$log")"
  setsid "$@" </dev/null >"$log" 2>&1 &
  CHILD=$!
  while kill -0 "$CHILD" 2>/dev/null; do
    if [ "$SECONDS" -ge "$next" ]; then
      stage_show "$($done_function)"
      # A log should not fill with progress; a person should not wait for it.
      if [ -t 1 ]; then next=$((SECONDS + 1)); else next=$((SECONDS + 15)); fi
    fi
    sleep 0.3
  done
  wait "$CHILD" || status=$?
  CHILD=""
  [ $status -eq 0 ] || fail_with_log $status "$log"
}

unknown_share() { :; }

# install_packages LOG GROUP...: launch/dependencies.sh with progress, or in the open where sudo may ask for a password
# or somebody must be told what to install.
install_packages() {
  local log=$1
  shift
  if [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; then
    run_logged "$log" unknown_share launch/dependencies.sh "$@"
  else
    launch/dependencies.sh "$@"
  fi
}

# Ninja's "[12/90] ..." in LAST_LOG.
ninja_share() {
  local counts
  counts=$(grep -aoE '^\[[0-9]+/[0-9]+\]' "$LAST_LOG" 2>/dev/null | tail -n 1 | tr -d '[]') || true
  [ -z "$counts" ] || echo $((1000 * ${counts%/*} / ${counts#*/}))
}

# ---- stages that several scripts have --------------------------------------------------------------------------------
# Each needs the repository's root as working directory, and a folder for logs.
build_headroom() {
  local logs=$1
  if [ ! -f build/build.ninja ]; then
    run_logged "$logs/configure.log" unknown_share cmake -G Ninja -S . -B build -DHEADROOM_TESTS=OFF
  fi
  run_logged "$logs/build.log" ninja_share ninja -C build -j "$(build_jobs)" headroom
  stage_end "build/headroom"
}

# The demo's corpus, corpora/prose, as configs/demo/base.toml names it.
prepare_prose() {
  local logs=$1 text=corpora/english/text corpus=corpora/prose
  if [ -f "$corpus/corpus.json" ]; then
    stage_end "$corpus is there"
  else
    run_logged "$logs/corpus-text.log" unknown_share launch/prepare_corpus.sh "$text"
    run_logged "$logs/tokenize.log" unknown_share \
      build/headroom tokenize "$text" --out "$corpus" --vocab-size 4096 --overwrite
    stage_end "$corpus"
  fi
}

# A signal ends what is running, too: it has a process group of its own, since a script's background jobs do not see
# Ctrl-C by themselves.
CHILD=""
interrupted() {
  trap - INT TERM
  if [ -n "$CHILD" ]; then
    kill -TERM -- "-$CHILD" 2>/dev/null || true
    wait "$CHILD" 2>/dev/null || true
  fi
  [ ! -t 1 ] || echo
  echo "interrupted; run the same command again to go on from here" >&2
  exit 130
}
trap interrupted INT TERM
