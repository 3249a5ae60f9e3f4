#!/bin/bash
# Shows that the suite finds faults in kernels without a GPU: plants one at a time in a copy of a source, builds the
# emulated GPU backend from it and runs the operations' tests, which must fail.
#
#   tests/emulation/planted_faults.sh [BUILD]     (default: build, where everything has been built, not with --sanitize)
#
# The faults are below: indices one too far, barriers removed, reductions that start at the wrong width. A removed
# barrier shows in some order of threads, so each order has its turn until the fault is found. The tests that a fault is
# to fail must pass without it, in every order.
#
# Not part of the suite: it compiles each source anew and takes some minutes. Exit status: 0 if every fault was found;
# 1 if one was not, or if its place is not in the sources any more (then the list below needs its new place).
set -euo pipefail
build=$(realpath "${1:-build}")
cd "$(dirname "$0")/../.."

if [ ! -x "$build/tensor_tests" ] || [ ! -f "$build/libheadroom_cuda_emulated.so" ]; then
  echo "planted_faults: no tensor_tests and libheadroom_cuda_emulated.so in $build (build the project first)" >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
objects=$build/tests/CMakeFiles/headroom_cuda_emulated.dir

# compile SOURCE: as the build does, with the changed copies in $work before the originals.
compile() {
  local command
  command=$(python3 - "$build/compile_commands.json" "$objects" "$1" "$work" <<'PYTHON'
import json, os, shlex, sys
commands, objects, source, work = sys.argv[1:]
for entry in json.load(open(commands)):
    words = shlex.split(entry["command"])
    if not entry["file"].endswith("/" + source) or "headroom_cuda_emulated.dir" not in entry["command"]:
        continue
    changed = os.path.join(work, source)
    words[-1] = changed if os.path.exists(changed) else entry["file"]
    words[words.index("-o") + 1] = os.path.join(work, os.path.basename(source) + ".o")
    print("cd", shlex.quote(entry["directory"]), "&&", shlex.join(words[:1] + ["-I" + work] + words[1:]))
    break
else:
    sys.exit("planted_faults: " + source + " is not compiled into the emulated backend")
PYTHON
  )
  bash -c "$command"
}

# Links the objects in $work, and the build's for the rest, into $work/library.so.
link() {
  local linked=() object name
  while IFS= read -r object; do
    name=$(basename "$object")
    if [ -f "$work/$name" ]; then linked+=("$work/$name"); else linked+=("$object"); fi
  done < <(find "$objects/" -name '*.o' | sort)
  g++ -shared -o "$work/library.so" "${linked[@]}" "$build/tests/libheadroom_emulation.a" "$build/libheadroom_tensor.a" \
    "$build/libheadroom_base.a" -Wl,--version-script=cmake/cuda_exports.map -Wl,--as-needed -lboost_context -lfmt
}

# run_tests LIBRARY ORDER FILTER: status of the tests; what they print goes to $work/output. Tests that are skipped, or
# that do not exist, prove nothing.
run_tests() {
  {
    HEADROOM_CUDA_LIBRARY=$1 HEADROOM_EMULATION_ORDER=$2 timeout 900 "$build/tensor_tests" --gtest_filter="$3" \
      --gtest_brief=1
  } >"$work/output" 2>&1 || return 1
  if grep -q 'SKIPPED' "$work/output" || ! grep -q 'PASSED.* [1-9][0-9]* test' "$work/output"; then
    echo "planted_faults: $3 with $1 runs nothing, or not all: $(tail -n 3 "$work/output")" >&2
    exit 1
  fi
}

# The first thing that was said against the fault: the emulator's own words, or which test saw wrong numbers.
finding() {
  grep -m1 -oE 'emulated device: .*|kernel [^ ]+, block .*' "$work/output" || grep -m1 'FAILED' "$work/output" ||
    tail -n 1 "$work/output"
}

found=0
planted=0
# plant DESCRIPTION FILE SED SOURCES TESTS: applies SED to a copy of FILE, compiles SOURCES with it, runs TESTS.
plant() {
  local description=$1 file=$2 change=$3 sources=$4 filter=$5 source order
  planted=$((planted + 1))
  echo "$description ($file)"
  find "$work" -mindepth 1 -delete
  mkdir -p "$work/$(dirname "$file")"
  sed "$change" "$file" >"$work/$file"
  if cmp -s "$file" "$work/$file"; then
    echo "  NO PLACE for it: sed '$change' changes nothing in $file"
    return
  fi
  for order in forward reverse shuffled; do
    if ! run_tests "$build/libheadroom_cuda_emulated.so" $order "$filter"; then
      echo "  NOT TRIED: $filter fails without the fault, in $order order: $(finding)"
      return
    fi
  done
  for source in $sources; do compile "$source"; done
  link
  for order in forward reverse shuffled; do
    if ! run_tests "$work/library.so" $order "$filter"; then
      echo "  found, in $order order: $(finding)"
      found=$((found + 1))
      return
    fi
  done
  echo "  NOT FOUND by $filter"
}

c=tensor/cuda
plant "index: one head more than there is" $c/rotary.cu 's/if (head >= all.rotated) continue;/if (head > all.rotated) continue;/' \
  $c/rotary.cu '*Rotary*cuda*'
plant "index: reads a row behind the last" $c/elementwise.cu 's/min(row + k \* step, rows - 1)/min(row + k * step, rows)/' \
  $c/elementwise.cu '*Dense.BiasGradient*cuda*'
plant "index: queries do not see their own key" $c/attention_tiled.cu 's/visible = key <= tile/visible = key < tile/' \
  $c/attention_tiled.cu '*Attention.*cuda*'
plant "barrier removed: between slices' sums and their sum" $c/partial_sums.cu '/^  __syncthreads();$/d' \
  $c/partial_sums.cu '*Dense.BiasGradient*cuda*'
plant "barrier removed: before keys are overwritten" $c/attention_tiled.cu '/__syncthreads();  \/\/ the keys have been used/d' \
  $c/attention_tiled.cu '*Attention.*cuda*'
plant "barrier removed: before the target's logit is replaced" $c/cross_entropy.cu "/__syncthreads();  \/\/ before the target's/d" \
  $c/cross_entropy.cu '*CrossEntropy.*cuda*'
plant "width: a warp's sum starts at 8 lanes, not 16" $c/device_code.h 's|offset = kWarp / 2; offset > 0|offset = kWarp / 4; offset > 0|' \
  "$c/cross_entropy.cu" '*CrossEntropy.*cuda*'
plant "width: a head's sum starts at a quarter of its lanes" $c/rows.h 's|offset = lanes / 2; offset > 0|offset = lanes / 4; offset > 0|' \
  $c/qk_norm.cu '*QkNorm*cuda*'

echo "$found of $planted faults found"
[ "$found" -eq "$planted" ]
