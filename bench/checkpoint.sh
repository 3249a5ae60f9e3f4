#!/bin/bash
# What saving and going on cost a model of 124 M parameters: how long a step waits for a checkpoint, against a plain copy of
# the same bytes, and how long a run takes to go on from one, against a plain read of the files. Prints a table; the last
# line is the same as JSON. Takes 4 GiB of memory and 3 GB of disk for a minute.
#
#   bench/checkpoint.sh [--ranks N] [--directory DIR]
#
#   --ranks N        data ranks that share the state (default: 1)
#   --directory DIR  where the checkpoints are written: the disk that is measured (default: runs/)
set -euo pipefail
cd "$(dirname "$0")/.."

ranks=1
directory=runs
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    --ranks | --directory)
      [ $# -ge 2 ] || { echo "checkpoint: $1 needs a value" >&2; exit 2; }
      declare "${1#--}=$2"
      shift
      ;;
    *)
      echo "checkpoint: unknown option '$1' (see --help)" >&2
      exit 2
      ;;
  esac
  shift
done

mkdir -p "$directory"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
exec mpirun --bind-to none --oversubscribe -n "$ranks" build/headroom bench configs/gpt2-124m/baseline.toml \
  --set device=cpu --set train.dtype=f32 --set optim.moments=wide --set train.micro_batch=1 --set model.seq_len=64 \
  --checkpoint "$directory/checkpoint-bench-$$"
