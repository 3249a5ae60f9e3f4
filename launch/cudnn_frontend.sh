#!/bin/bash
# Fetches the headers of cuDNN's C++ frontend, with which the GPU backend is built to use cuDNN's fused attention. They
# come in the Python package nvidia-cudnn-frontend and are in no Debian package. Nothing else of it is used.
#
#   launch/cudnn_frontend.sh [FOLDER]      (default: build/cudnn-frontend, where CMake looks)
#
# Does nothing when they are there. Without them the backend computes attention with its own kernels, which are slower.
set -euo pipefail
case ${1:-} in -h | --help)
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"
  exit 0
  ;;
esac
cd "$(dirname "$0")/.."
folder=${1:-build/cudnn-frontend}
[ ! -e "$folder/include/cudnn_frontend.h" ] || exit 0
if ! python3 -m pip --version >/dev/null 2>&1; then
  echo "cudnn_frontend: python3 has no pip here. Unpack the Python package nvidia-cudnn-frontend into $folder, so that" >&2
  echo "  $folder/include/cudnn_frontend.h is there, or go on without: attention will be slower." >&2
  exit 2
fi
# A folder of its own, complete or not there at all.
rm -rf "$folder.partial"
python3 -m pip -q --disable-pip-version-check install --no-deps --target "$folder.partial" nvidia-cudnn-frontend
[ -e "$folder.partial/include/cudnn_frontend.h" ] || {
  echo "cudnn_frontend: nvidia-cudnn-frontend came without include/cudnn_frontend.h" >&2
  exit 1
}
rm -rf "$folder"
mv "$folder.partial" "$folder"
