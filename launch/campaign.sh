#!/bin/bash
# A whole ablation campaign through a real Slurm, from a bare Debian 12: installs what is missing, builds Headroom, prepares
# a corpus of English prose, starts a Slurm cluster of two nodes on this machine, submits the campaign through sbatch, waits
# for its runs and its report, and stops the cluster. Prints the report's path last. Run again, it goes on where it
# stopped. Needs root, for the cluster.
#
#   launch/campaign.sh [options]
#
#   --campaign FILE   which campaign (default: configs/campaigns/small.toml: six variants, three seeds)
#   --out DIR         where its directory goes (default: campaigns)
#   --help
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
campaign=$root/configs/campaigns/small.toml
out=campaigns

usage_error() {
  echo "campaign: $1 (see launch/campaign.sh --help)" >&2
  exit 2
}

while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    --campaign | --out)
      [ $# -ge 2 ] || usage_error "$1 needs a value"
      case $1 in
        --campaign) campaign=$(realpath -m -- "$2") ;;
        --out) out=$(realpath -m -- "$2") ;;
      esac
      shift
      ;;
    *) usage_error "unknown option '$1'" ;;
  esac
  shift
done
[ -f "$campaign" ] || usage_error "there is no $campaign"
[ "$(id -u)" = 0 ] || usage_error "needs root, for the cluster; without Slurm: headroom campaign run $campaign"

cd "$root"
# shellcheck source=launch/lib.sh
source launch/lib.sh
mpi_environment
out=$(realpath -m -- "$out")
logs=$out/setup-logs
cluster=$out/test-cluster
mkdir -p "$logs"
exec 9>"$logs/lock"
flock -n 9 || { echo "campaign: another launch/campaign.sh works in $out" >&2; exit 10; }

stages_begin "Packages|60" "Build|240" "Corpus|60" "Cluster|2" "Campaign|900"
stage
install_packages "$logs/packages.log" build run slurm
stage_end

stage
build_headroom "$logs"

stage
prepare_prose "$logs"

stop_cluster() { tests/slurm/cluster.sh stop "$cluster" >>"$logs/cluster.log" 2>&1 || true; }
stage
stop_cluster  # one that an interrupted script left
run_logged "$logs/cluster-start.log" unknown_share tests/slurm/cluster.sh start "$cluster" --nodes 2 --cpus 1
trap stop_cluster EXIT
export SLURM_CONF=$cluster/slurm.conf
stage_end "$(sinfo --noheader --format='%D nodes (%N)' --partition=debug)"

stage
stage_label
# What an interrupted script's cluster took with it begins again; the first time there is no campaign yet.
if build/headroom campaign status "$campaign" --dir "$out" >/dev/null 2>&1; then
  run_logged "$logs/retry.log" unknown_share build/headroom campaign retry "$campaign" --dir "$out" 9>&-
fi
echo "From another terminal: export SLURM_CONF=$SLURM_CONF; build/headroom campaign status --dir $out $campaign"
# In the open: it shows every run. 9 is the lock, which nothing that outlives this script may hold.
build/headroom campaign run "$campaign" --site configs/sites/test-cluster.toml --dir "$out" --wait 9>&-
