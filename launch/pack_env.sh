# shellcheck shell=bash
# What the programs of a packed folder (launch/pack.sh) need around them: their libraries, CUDA's from wherever this
# machine has them, Open MPI's and PMIx's files. Lies in the folder as env.sh and is sourced by every bin/NAME, so that
# bin/NAME works as it is and nothing else on the machine sees these settings.
#
#   HEADROOM_CUDA_FOLDERS=A:B   set by hand: where cuBLASLt, cuDNN and NCCL are, instead of searching

headroom_pack=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# The Python environments' own folders, which only Python can tell.
python_folders() {
  python3 -c 'import site, sys
print("\n".join(sorted({path + "/nvidia" for path in [*site.getsitepackages(), site.getusersitepackages(), *sys.path]})))' \
    2>/dev/null || true
}

# Folders that may hold CUDA libraries, one a line, the likelier first.
cuda_candidates() {
  local folder
  tr ':' '\n' <<<"${LD_LIBRARY_PATH:-}"
  for folder in ${CUDA_HOME:+"$CUDA_HOME"} ${CUDA_PATH:+"$CUDA_PATH"} /usr/local/cuda /usr/local/cuda-*; do
    printf '%s\n' "$folder/lib64" "$folder/lib" "$folder/targets/x86_64-linux/lib"
  done
  printf '%s\n' /usr/lib/x86_64-linux-gnu /usr/lib64
  for folder in ${VIRTUAL_ENV:+"$VIRTUAL_ENV"} ${CONDA_PREFIX:+"$CONDA_PREFIX"} /usr /usr/local /opt/* /opt/*/.venv \
    "${HOME:-/root}/.local"; do
    printf '%s\n' "$folder"/lib/python3*/{site,dist}-packages/nvidia/*/lib
  done
  # Asked last, and only where there is a GPU: starting Python takes longer than all the rest.
  ! compgen -G '/dev/nvidia[0-9]*' >/dev/null && [ ! -e /dev/dxg ] ||
    python_folders | while read -r folder; do printf '%s\n' "$folder"/*/lib; done
}

# The folders among them that have the libraries named in lib/cuda-libraries, separated by colons; the first for each.
find_cuda_folders() {
  local library candidates folder found=""
  candidates=$(cuda_candidates)
  while read -r library; do
    while read -r folder; do
      if [ -n "$folder" ] && [ -e "$folder/$library" ]; then
        [[ ":$found:" == *":$folder:"* ]] || found+=${found:+:}$folder
        break
      fi
    done <<<"$candidates"
  done <"$headroom_pack/lib/cuda-libraries"
  echo "$found"
}

if [ "${HEADROOM_PACK:-}" != "$headroom_pack" ]; then  # once for a process and its children
  export HEADROOM_PACK=$headroom_pack
  export HEADROOM_SOURCE_DIR=${HEADROOM_SOURCE_DIR:-$HEADROOM_PACK}  # where the tests find tests/fixtures, configs
  export HEADROOM_CUDA_FOLDERS=${HEADROOM_CUDA_FOLDERS-$(find_cuda_folders)}
  LD_LIBRARY_PATH=$HEADROOM_PACK/lib:$HEADROOM_CUDA_FOLDERS:${LD_LIBRARY_PATH:-}
  while [[ $LD_LIBRARY_PATH == *::* ]]; do LD_LIBRARY_PATH=${LD_LIBRARY_PATH//::/:}; done
  export LD_LIBRARY_PATH=${LD_LIBRARY_PATH%:}  # an empty entry would mean the working directory
  export PATH=$HEADROOM_PACK/bin:$PATH
  export OPAL_PKGLIBDIR=$HEADROOM_PACK/openmpi/components OPAL_PKGDATADIR=$HEADROOM_PACK/openmpi/share
  export OPAL_SYSCONFDIR=$HEADROOM_PACK/openmpi/etc OPAL_BINDIR=$HEADROOM_PACK/libexec
  export PMIX_PKGLIBDIR=$HEADROOM_PACK/pmix/components PMIX_PKGDATADIR=$HEADROOM_PACK/pmix/share
  export PMIX_SYSCONFDIR=$HEADROOM_PACK/pmix/etc
  # Where nothing starts processes on other machines, Open MPI should not look for it.
  command -v ssh >/dev/null || command -v srun >/dev/null || export OMPI_MCA_plm=${OMPI_MCA_plm:-isolated}
  # shellcheck source=launch/lib.sh
  source "$HEADROOM_PACK/launch/lib.sh"
  mpi_environment
fi
