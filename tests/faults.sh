#!/bin/bash
# The long form of the fault suite: runs killed at random moments and files damaged at random, each gone on with and
# compared with an undisturbed run. The ordinary suite does a few of each; this does as many as it is told.
#
#   tests/faults.sh [--kills N] [--damages N] [--seed S]     (default: 200 kills, 500 damages, seed 1)
#
# Builds what it needs. Prints what came of it; docs/reliability.md holds figures. About half an hour on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."

kills=200
damages=500
seed=1
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    --kills | --damages | --seed)
      [[ ${2:-} =~ ^[0-9]+$ ]] || { echo "tests/faults.sh: $1 needs a number" >&2; exit 2; }
      printf -v "${1#--}" %s "$2"
      shift
      ;;
    *)
      echo "tests/faults.sh: unknown option '$1' (see tests/faults.sh --help)" >&2
      exit 2
      ;;
  esac
  shift
done

launch/dependencies.sh build run test
[ -e build/build.ninja ] || cmake -G Ninja -S . -B build -DHEADROOM_TESTS=ON
ninja -C build headroom faults_tests
export HEADROOM_FAULT_SEED=$seed OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
HEADROOM_FAULT_TRIALS=$kills build/faults_tests --gtest_filter='Kills.*'
HEADROOM_FAULT_TRIALS=$damages build/faults_tests --gtest_filter='Damaged.*'
