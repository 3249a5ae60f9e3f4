#!/bin/bash
# Installs what Headroom needs, on Debian 12: the one list of its packages.
#
#   launch/dependencies.sh [--list] [build] [run] [test] [check] [fuzz] [slurm] [bench]     (default: build run)
#
#   build   compiler, CMake and the libraries that the program is built with
#   run     what a run and its report need beyond them
#   test    the test suite
#   check   formatting, static analysis (what .ci/run needs beyond the test suite)
#   fuzz    clang and its libFuzzer (tests/fuzz.sh), beyond build
#   slurm   a Slurm cluster on this host (tests/slurm/cluster.sh), beyond run
#   bench   the PyTorch that bench/compare_torch.sh measures against
#
# Does nothing when all is there. Otherwise runs apt-get, as root or through sudo; where neither is possible, it prints
# the command to run and exits with 2. --list only prints the packages' names.
set -euo pipefail

packages_of() {
  case $1 in
    build)
      echo g++ cmake ninja-build pkg-config git ca-certificates
      echo libopenmpi-dev openmpi-bin                           # ranks
      echo libhdf5-dev                                          # snapshots, checkpoints
      echo libdnnl-dev libopenblas-openmp-dev                   # matrix products
      echo libboost-log-dev libboost-thread-dev libboost-filesystem-dev   # they bring Boost.Math, headers only
      echo libsentencepiece-dev libpcre2-dev libutf8proc-dev    # tokenizers
      echo libtomlplusplus-dev libcli11-dev nlohmann-json3-dev libfmt-dev libxxhash-dev zlib1g-dev
      echo libjs-d3                                             # drawn into reports
      ;;
    run) echo openmpi-bin hdf5-tools perl ;;                    # perl: launch/prepare_corpus.sh
    test)
      echo libgtest-dev libgmock-dev hdf5-tools python3 python3-h5py
      echo libboost-context-dev                                 # threads of emulated GPUs
      ;;
    check) echo clang-format clang-tidy shellcheck libomp-dev ;;  # libomp-dev: omp.h for clang-tidy
    fuzz) echo clang libclang-rt-dev libomp-dev llvm ;;           # llvm: names in the sanitizers' reports
    slurm) echo slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge ;;  # plugins: PMIx, munge
    bench) echo python3-torch libblas3 liblapack3 ;;             # the BLAS that python3-torch depends on first
    *)
      echo "dependencies: unknown group '$1' (see --help)" >&2
      exit 2
      ;;
  esac
}

list_only=no
groups=()
for argument in "$@"; do
  case $argument in
    -h | --help)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    --list) list_only=yes ;;
    -*)
      echo "dependencies: unknown option '$argument' (see --help)" >&2
      exit 2
      ;;
    *) groups+=("$argument") ;;
  esac
done
[ ${#groups[@]} -gt 0 ] || groups=(build run)

wanted=()
for group in "${groups[@]}"; do
  names=$(packages_of "$group")
  read -r -d '' -a names <<<"$names" || true
  wanted+=("${names[@]}")
done
mapfile -t wanted < <(printf '%s\n' "${wanted[@]}" | sort -u)

if [ $list_only = yes ]; then
  printf '%s\n' "${wanted[@]}"
  exit 0
fi

if ! command -v apt-get >/dev/null; then
  echo "dependencies: this is no Debian system (no apt-get). Install the equivalents of:" >&2
  echo "  ${wanted[*]}" >&2
  exit 2
fi

installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null | sed -n 's/^installed //p' || true)
mapfile -t missing < <(comm -23 <(printf '%s\n' "${wanted[@]}") <(sort -u <<<"$installed"))

# The corpus' packages are downloaded at `run`, so the package lists must be there even when nothing is missing.
lists_missing() { [[ " ${groups[*]} " == *" run "* ]] && ! compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; }

if [ ${#missing[@]} -gt 0 ]; then
  echo "Packages to install: ${missing[*]}"
elif lists_missing; then
  echo "Fetching the package lists"
else
  exit 0
fi
command="apt-get update${missing[*]:+ && apt-get install -y --no-install-recommends ${missing[*]}}"
as_root=()
if [ "$(id -u)" != 0 ]; then
  # sudo may ask for a password only where somebody can type it.
  if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root=(sudo)
  else
    echo "dependencies: this needs root. Have an administrator run:" >&2
    echo "  $command" >&2
    exit 2
  fi
fi

# Waits for another apt-get instead of failing at its lock.
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@"; }
install() { [ ${#missing[@]} -eq 0 ] || apt install -y --no-install-recommends "${missing[@]}"; }
if ! apt update || ! install; then
  echo "dependencies: apt-get failed (its messages are above). When that is mended, run this again, or as root:" >&2
  echo "  $command" >&2
  exit 2
fi
