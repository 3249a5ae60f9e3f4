#!/bin/bash
# usage: hanging_rank.sh STATUS EXPECTED... -- MPIRUN... PROGRAM HOW: does the job end with this status, having said all
# that is expected, and is every process that said "pid N" gone half a minute after it, at the latest?
status=$1
shift
expected=()
while [ "$1" != -- ]; do
  expected+=("$1")
  shift
done
shift

output=$("$@" 2>&1)
ended=$?
echo "$output"
echo "status $ended"
failed=0
if [ "$ended" != "$status" ]; then
  echo "FAILED: the status is not $status"
  failed=1
fi
for words in "${expected[@]}"; do
  if [[ $output != *"$words"* ]]; then
    echo "FAILED: nobody said: $words"
    failed=1
  fi
done

mapfile -t pids < <(sed -n 's/^pid //p' <<<"$output")
if [ "${#pids[@]}" != 3 ]; then
  echo "FAILED: ${#pids[@]} ranks said their pid"
  failed=1
fi
for pid in "${pids[@]}"; do
  while kill -0 "$pid" 2>/dev/null; do
    if [ "$SECONDS" -gt 30 ]; then
      echo "FAILED: process $pid is still there"
      kill -9 "$pid"
      exit 1
    fi
    sleep 0.1
  done
done
exit $failed
