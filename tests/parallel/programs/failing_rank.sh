#!/bin/sh
# usage: failing_rank.sh MPIRUN... PROGRAM: does one rank's failure end them all, with its exit code and message?
output=$("$@" 2>&1)
status=$?
echo "$output"
echo "status $status"
[ "$status" = 9 ] || exit 1
case $output in
  *"error: rank 1: no space left for the test"*"hint: make some"*) exit 0 ;;
esac
exit 1
