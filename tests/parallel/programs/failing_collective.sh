#!/bin/sh
# usage: failing_collective.sh EXPECTED MPIRUN... PROGRAM MODE: does the watchdog end all ranks with its exit code, and
# a message that has EXPECTED in it?
expected=$1
shift
output=$("$@" 2>&1)
status=$?
echo "$output"
echo "status $status"
[ "$status" = 7 ] || exit 1
case $output in
  *"$expected"*"hint: "*) exit 0 ;;
esac
exit 1
