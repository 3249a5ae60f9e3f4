#!/bin/bash
# What only a real GPU can check, as one test: on a machine with one it runs the device steps of bench/gpu.sh; on any
# other it names what has not been checked and reports itself as not run (exit code 77, which CTest shows as skipped).
#
#   tests/hardware.sh BUILD-DIRECTORY
set -euo pipefail
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
unset HEADROOM_CUDA_LIBRARY
if ! reason=$("$build/headroom" doctor --need-gpu 2>&1); then
  echo "NOT RUN: no GPU here."
  sed -n 's/^ *not usable */  /p' <<<"$reason"
  cat <<'END'
Only hardware can check, and nothing above has:
  - cuBLASLt: its products, fused epilogues and the algorithms chosen by timing
  - cuDNN: fused attention forward and backward, and the KV bias on top of it
  - NCCL: communicators over several GPUs, their errors and the watchdog that ends them
  - that kernels are as fast as their headers count, and what compute-sanitizer says of them
Run bench/gpu.sh, or this test, on a machine with a GPU.
END
  exit 77
fi
bench/gpu.sh --build "$build" --out "$build/gpu-test" --only doctor,suites,losses,layouts,sanitizer --no-torch
