#!/bin/bash
# Collects a built Headroom into one folder that runs on another x86-64 Linux machine without installing anything, and
# packs it: the program, the test programs that say something about a GPU, the GPU backend, mpirun, and every shared
# library they need but the C library (2.36 or newer is needed there) and NVIDIA's, which the machine brings.
#
#   launch/pack.sh BUILD_DIR OUTPUT      (ninja pack: build/headroom-pack and build/headroom-pack.tar.gz)
#
# What is in OUTPUT and how to use it: docs/gpu.md.
set -euo pipefail

case ${1:-} in
  -h | --help)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"
    exit 0
    ;;
esac
if [ $# -ne 2 ]; then
  echo "pack: give the build directory and the folder to make (see --help)" >&2
  exit 2
fi
source=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "$1" && pwd)
pack=$(realpath -m -- "$2")
most_bytes=$((60 << 20))

programs=(headroom tensor_tests model_tests optim_tests model_mpi_tests optim_mpi_tests trainer_mpi_tests
  analysis_mpi_tests)

fail() {
  echo "pack: $1" >&2
  [ $# -lt 2 ] || echo "  $2" >&2
  exit 2
}

# Only a folder that this script has made is replaced.
if [ -e "$pack" ]; then
  [ -e "$pack/env.sh" ] || fail "$pack is there and is no packed folder" "Remove it, or name another one."
  rm -rf "$pack"
fi
mkdir -p "$pack"/{bin,libexec,lib,launch,bench,tests,openmpi/{components,share,etc},pmix/{components,share,etc}}

# ---- programs and the backend ----------------------------------------------------------------------------------------
for program in "${programs[@]}"; do
  [ -x "$build/$program" ] || fail "$build/$program is missing" "Build it first: ninja -C $build"
  cp "$build/$program" "$pack/libexec/"
done
backends=()
for library in libheadroom_cuda.so libheadroom_cuda_emulated.so; do
  if [ -e "$build/$library" ]; then
    cp -L "$build/$library" "$pack/lib/"
    backends+=("$library")
  fi
done
if [ ! -e "$pack/lib/libheadroom_cuda.so" ]; then
  echo "pack: WARNING: this build has no GPU backend; the folder will compute on CPUs only" >&2
fi

# What the machine must bring, by the names the loader looks for.
{
  objdump -p "$pack/lib/libheadroom_cuda.so" 2>/dev/null | awk '$1 == "NEEDED" && $2 ~ /^libcublasLt/ { print $2 }'
  printf '%s\n' libcudnn.so.9 libnccl.so.2
} >"$pack/lib/cuda-libraries"

# ---- Open MPI --------------------------------------------------------------------------------------------------------
command -v ompi_info >/dev/null || fail "ompi_info is missing: only Open MPI can be packed" "launch/dependencies.sh build run"
ompi_path() { ompi_info --path "$1" --parsable | cut -d : -f 3; }
cp -L "$(command -v orterun)" "$pack/libexec/mpirun"
cp -L "$(ompi_path pkgdatadir)"/help-*.txt "$pack/openmpi/share/"
# Components for hardware networks, other launchers, OpenSHMEM and parallel files pull in libraries and are of no use here.
unneeded='_(ucx|ofi|openib|psm2?|cm|monitoring|flux|jsm|gridengine|pspawn|pessimist)\.so$'
unneeded+='|/mca_(spml|sshmem|scoll|memheap|atomic|io|fs|fbtl|fcoll|sharedfp|crs|vprotocol)_'
for component in "$(ompi_path pkglibdir)"/mca_*.so; do
  [[ $component =~ $unneeded ]] || cp -L "$component" "$pack/openmpi/components/"
done
# PMIx finds its own components beside its library.
pmix=$(ldd "$pack"/openmpi/components/mca_pmix_ext*.so | awk '$1 ~ /^libpmix/ { print $3; exit }')
if [ -n "$pmix" ]; then
  pmix=$(dirname "$(realpath "$pmix")")
  cp -L "$pmix"/pmix/*.so "$pack/pmix/components/"
  cp -L "$pmix"/../share/pmix/help-*.txt "$pack/pmix/share/"
fi

# ---- shared libraries ------------------------------------------------------------------------------------------------
binaries=("$pack"/libexec/* "$pack"/lib/*.so "$pack"/openmpi/components/*.so)
if compgen -G "$pack/pmix/components/*.so" >/dev/null; then binaries+=("$pack"/pmix/components/*.so); fi
# Not carried: the C library, which goes with the kernel's loader, and what belongs to NVIDIA's driver and toolkit.
c_library='^(ld-linux.*|libc|libm|libmvec|libdl|libpthread|librt|libresolv|libutil|libanl|libnss_.*|libthread_db)\.so'
nvidia='^lib(cuda|cudart|cublas|cublasLt|cudnn.*|nccl|nv.*|curand|cufft|cusolver|cusparse)\.so'
for binary in "${binaries[@]}"; do ldd "$binary" 2>/dev/null || true; done |
  awk '$2 == "=>" { print $1, ($3 ~ /^\// ? $3 : "missing") }' | sort -u |
  while read -r name path; do
    [[ ! $name =~ $c_library && ! $name =~ $nvidia ]] || continue
    [ "$path" != missing ] || fail "$name, which is needed, is not on this machine"
    [ -e "$pack/lib/$name" ] || cp -L "$path" "$pack/lib/$name"
  done
chmod u+w "$pack"/lib/* "$pack"/libexec/* "$pack"/{openmpi,pmix}/components/* 2>/dev/null || true
for binary in "$pack"/libexec/* "$pack"/lib/*.so* "$pack"/{openmpi,pmix}/components/*.so; do
  [ ! -f "$binary" ] || strip --strip-unneeded "$binary"
done

# ---- scripts and data ------------------------------------------------------------------------------------------------
for program in "${programs[@]}" mpirun; do
  cat >"$pack/bin/$program" <<'END'
#!/bin/bash
# Runs the program of this name in ../libexec with the folder's libraries around it.
self=$(readlink -f "$0")
source "${self%/*}/../env.sh"
exec -a "${self##*/}" "$HEADROOM_PACK/libexec/${self##*/}" "$@"
END
  chmod +x "$pack/bin/$program"
done
cp "$source/launch/pack_env.sh" "$pack/env.sh"
cp "$source/launch/lib.sh" "$pack/launch/"
cp "$source"/bench/{gpu.sh,gpu_steps.sh,gpu_table.awk,torch_gpu_peer.py,lib.sh} "$pack/bench/"
cp -r "$source/configs" "$source/docs" "$pack/"
rm -rf "$pack/docs/images"
cp -r "$source/tests/fixtures" "$pack/tests/"
cp "$source/README.md" "$source/CONTRIBUTING.md" "$source/LICENSE" "$pack/"

# Whatever the loader takes from elsewhere now would be missing there.
for binary in "${binaries[@]}" "$pack"/lib/*.so.*; do
  LD_LIBRARY_PATH=$pack/lib ldd "$binary" | awk '$2 == "=>" { print $1, $3 }' | while read -r name path; do
    [[ $name =~ $c_library || $name =~ $nvidia || $path == "$pack"/* ]] ||
      fail "$(basename "$binary") still takes $name from elsewhere: $path"
  done
done

# ---- archive ---------------------------------------------------------------------------------------------------------
# gzip, which every machine can read; xz only where gzip's archive would be too large.
mib() { awk -v bytes="$1" 'BEGIN { printf "%.1f MiB", bytes / 1048576 }'; }
archive() {
  tar --sort=name --owner=0 --group=0 --numeric-owner -C "$(dirname "$pack")" -cf - "$(basename "$pack")" | "${@:2}" >"$1.partial"
  mv "$1.partial" "$1"
  bytes=$(stat -c %s "$1")
  echo "$1: $(mib "$bytes")"
}
echo "$pack: $(mib "$(du -sb "$pack" | cut -f 1)"), GPU backends: ${backends[*]:-none}"
rm -f "$pack.tar.gz" "$pack.tar.xz"
archive "$pack.tar.gz" gzip -9
if [ "$bytes" -gt $most_bytes ]; then
  rm "$pack.tar.gz"
  archive "$pack.tar.xz" xz -T 0 -6
fi
if [ "$bytes" -gt $most_bytes ]; then
  du -ab "$pack" | sort -rn | sed -n 2,12p >&2
  fail "the archive is larger than $(mib $most_bytes); its largest parts are above"
fi
