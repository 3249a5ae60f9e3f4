#!/bin/bash
# Does a packed folder (ninja pack) run where nothing of ours is installed? Unpacks its archive into a root of its own that
# has the C library, bash and a few small tools of this machine and nothing else (no Open MPI, HDF5, OpenBLAS, C++
# library, CUDA, Python), and there, chrooted: doctor, tokenize, training alone and on 2 and 4 ranks, verify, the refusal
# of bench/gpu.sh without a GPU, and with --smoke all of bench/gpu.sh on the emulated GPU. Needs root, or user namespaces.
#
#   tests/pack.sh [--smoke] [ARCHIVE]      (default: build/headroom-pack.tar.gz or .tar.xz)
set -euo pipefail
cd "$(dirname "$0")/.."

smoke=no
archive=""
for argument in "$@"; do
  case $argument in
    -h | --help)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    --smoke) smoke=yes ;;
    -*)
      echo "tests/pack.sh: unknown option '$argument' (see --help)" >&2
      exit 2
      ;;
    *) archive=$argument ;;
  esac
done
if [ -z "$archive" ]; then
  archive=$(compgen -G 'build/headroom-pack.tar.?z' | head -n 1) || { echo "tests/pack.sh: no archive; run ninja -C build pack" >&2; exit 2; }
fi

# Mounts and a root of our own: in a mount namespace, which ends with this script.
if [ "${HEADROOM_PACK_TEST:-}" != inside ]; then
  own=(--mount)
  [ "$(id -u)" = 0 ] || own+=(--user --map-root-user)
  archive=$(realpath "$archive") HEADROOM_PACK_TEST=inside exec unshare "${own[@]}" "$PWD/tests/pack.sh" "$@"
fi

root=$(mktemp -d "${TMPDIR:-/tmp}/headroom-bare-XXXXXX")
trap 'umount -l "$root/proc" "$root/sys" "$root/dev" 2>/dev/null || true; rm -rf --one-file-system "$root"' EXIT

# ---- a bare machine --------------------------------------------------------------------------------------------------
tools=(bash env ls cat cp mv rm mkdir rmdir ln touch chmod date sleep head tail cut tr sort uniq wc tee paste dirname
  basename readlink realpath stat mktemp timeout id nproc uname sed grep awk tar gzip hostname)
mkdir -p "$root"/{bin,lib64,lib/x86_64-linux-gnu,usr,etc,tmp,proc,sys,dev,opt}
ln -s ../bin ../lib "$root/usr/"
for tool in "${tools[@]}"; do
  path=$(realpath "$(command -v "$tool")")
  cp "$path" "$root/bin/$tool"
  # What these tools themselves need; the list below checks that it is not much.
  ldd "$path" | awk '$3 ~ /^\// { print $3 } $1 ~ /^\/lib64/ { print $1 }' | while read -r library; do
    cp -Ln "$library" "$root/lib/x86_64-linux-gnu/"
  done
done
ln -s bash "$root/bin/sh"
for library in libc libm libmvec libdl libpthread librt libresolv libutil libanl libnss_files libnss_dns; do
  for file in /lib/x86_64-linux-gnu/$library.so.*; do cp -Ln "$file" "$root/lib/x86_64-linux-gnu/"; done
done
cp -L /lib64/ld-linux-x86-64.so.2 "$root/lib64/"
echo root:x:0:0:root:/tmp:/bin/bash >"$root/etc/passwd"
echo 127.0.0.1 localhost "$(hostname)" >"$root/etc/hosts"
mount --rbind /proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
echo "== the bare root's libraries: $(cd "$root/lib/x86_64-linux-gnu" && echo *)"
if find "$root" -xdev -path "$root/proc" -prune -o -path "$root/sys" -prune -o -path "$root/dev" -prune -o \
  -name 'lib*' -print | grep -E 'mpi|hdf5|blas|dnnl|boost|stdc|gomp|cu(da|blas|dnn)|nccl'; then
  echo "tests/pack.sh: the root is not bare" >&2
  exit 1
fi
tar -C "$root/opt" -xf "$archive"

bare() { chroot "$root" /bin/env -i HOME=/tmp PATH=/bin TERM=dumb /bin/bash -c "cd /opt/headroom-pack && $1"; }
try() {
  echo "== $1"
  if ! bare "$1" >"$root/tmp/out" 2>&1; then
    cat "$root/tmp/out"
    echo "tests/pack.sh: FAILED: $1" >&2
    exit 1
  fi
  tail -n "${2:-3}" "$root/tmp/out"
  if grep -i -E '^\[.*\] (warning|\*\*\*)|mca_base|help file|^\[hwloc' "$root/tmp/out"; then
    echo "tests/pack.sh: FAILED: complaints, above, from: $1" >&2
    exit 1
  fi
}

# ---- what must work there --------------------------------------------------------------------------------------------
try "bin/headroom doctor" 20
try "bin/headroom tokenize README.md docs/*.md --out /tmp/corpus --vocab-size 400 --held-out 0.1" 4
small="--set data.corpus=/tmp/corpus --set runs_dir=/tmp/runs --set model.seq_len=32 --set snapshot.calibration_tokens=32
  --set snapshot.calibration_sequences=1 --set snapshot.sentences=[] --set eval.windows=2 --set train.steps=5"
small=${small//$'\n'/ }
for ranks in 1 2 4; do
  launcher="bin/mpirun -n $ranks --bind-to none"
  [ $ranks != 1 ] || launcher=""
  try "$launcher bin/headroom train configs/demo/tvr-kv-bias.toml --set name=on-$ranks $small" 2
done
losses() { sed -n 's/^{"step".*"loss":\([0-9.]*\).*/\1/p' "$root/tmp/runs/$1/metrics.jsonl"; }
paste <(losses on-1) <(losses on-2) <(losses on-4) | awk '
  { for (i = 2; i <= 3; ++i) { d = $i / $1 - 1; if (d < 0) d = -d; if (NF != 3 || d > 1e-5) bad = 1; if (d > worst) worst = d } }
  END { printf "== losses of 5 steps on 1, 2 and 4 ranks differ by %.1e at most\n", worst; exit bad || NR != 5 }'
try "PATH=\$PWD/bin:\$PATH; headroom verify configs/demo/baseline.toml --layouts 1x1,1x2 --steps 3 ${small/--set runs_dir=\/tmp\/runs/}" 4
try "bin/tensor_tests --gtest_brief=1 --gtest_filter='*Rotary*cpu*'" 2
# Open MPI finds its explanations, too.
bare "bin/mpirun -n 2 bin/no-such-program" >"$root/tmp/out" 2>&1 || true
grep -q "mpirun was unable to launch the specified application" "$root/tmp/out" || {
  cat "$root/tmp/out"
  echo "tests/pack.sh: FAILED: Open MPI's help files are not found" >&2
  exit 1
}

echo "== bench/gpu.sh without a GPU"
status=0
bare "bench/gpu.sh --out /tmp/session" >"$root/tmp/out" 2>&1 || status=$?
tail -n 1 "$root/tmp/out"
[ $status = 2 ] || { cat "$root/tmp/out"; echo "tests/pack.sh: FAILED: ended with $status, not 2" >&2; exit 1; }
if [ $smoke = yes ]; then try "bench/gpu.sh --smoke --no-torch --out /tmp/session" 70; fi
echo "tests/pack.sh: passed: $archive runs in a root with the C library and bash only"
