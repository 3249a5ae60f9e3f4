#!/bin/bash
# A Slurm cluster of several nodes on this one host, for tests: slurmctld, slurmd and munged from Debian's packages,
# without systemd. Everything it writes (configuration, key, logs, pids, spool) is under DIR.
#
#   tests/slurm/cluster.sh start DIR [options]    prints how to use it
#   tests/slurm/cluster.sh stop DIR               ends all of its processes, running jobs too; leaves the logs
#   tests/slurm/cluster.sh status DIR             its nodes and jobs; exit status 1 where none runs
#   tests/slurm/cluster.sh node-down DIR NODE     as if the machine lost power: kills all that runs on it
#   tests/slurm/cluster.sh node-up DIR NODE       switches it on again
#
#   --nodes N    nodes, named n1 to nN (default: 3)
#   --cpus C     CPUs that each node claims to have (default: 4)
#   --port P     first port of its block of 500 (default: the first free block from 17000)
#   --conf LINE  another line for slurm.conf, after the others; may be given several times
#   --help
#
# Partitions: debug (the default) has all nodes and no time limit; short has the last node and at most 10 minutes.
# Its daemons listen on loopback only.
# Needs root. Exit status: 2 when refused (usage, packages, a cluster already there), 1 when something failed.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
root=$(cd "$(dirname "$0")/../.." && pwd)

refuse() {
  echo "cluster: $1" >&2
  exit 2
}
is_count() { [[ $1 =~ ^[1-9][0-9]{0,4}$ ]]; }

verb=""
positional=()
nodes=3
cpus=4
port=""
extra=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    --nodes | --cpus | --port | --conf)
      [ $# -ge 2 ] || refuse "$1 needs a value (see --help)"
      case $1 in
        --nodes) nodes=$2 ;;
        --cpus) cpus=$2 ;;
        --port) port=$2 ;;
        --conf) extra+=("$2") ;;
      esac
      [ "$1" = --conf ] || is_count "$2" || refuse "$1 takes a whole number above 0, not '$2'"
      shift
      ;;
    -*) refuse "unknown option '$1' (see --help)" ;;
    *) if [ -z "$verb" ]; then verb=$1; else positional+=("$1"); fi ;;
  esac
  shift
done
case $verb in
  start | stop | status) [ ${#positional[@]} -eq 1 ] || refuse "$verb takes one DIR (see --help)" ;;
  node-down | node-up) [ ${#positional[@]} -eq 2 ] || refuse "$verb takes DIR and NODE (see --help)" ;;
  *) refuse "no such verb: '$verb' (see --help)" ;;
esac
[ "$nodes" -le 90 ] || refuse "at most 90 nodes"
[ -z "$port" ] || [ "$port" -le 65000 ] || refuse "--port: at most 65000"
[ "$(id -u)" = 0 ] || refuse "needs root: slurmd starts jobs for users, and each node has namespaces of its own"

dir=$(realpath -m -- "${positional[0]}")
[[ ! $dir =~ [[:space:]#=,%] ]] || refuse "slurm.conf cannot hold blanks, commas, '#', '=' or '%' in DIR"
node=${positional[1]:-}
# Sockets' paths may have 107 characters: where DIR is long, all goes through a short link to it.
base=$dir
if [ -s "$dir/run/link" ]; then base=$(cat "$dir/run/link"); fi
export SLURM_CONF=$base/slurm.conf

# ---- processes -------------------------------------------------------------------------------------------------------
# Everything on a node (slurmd, slurmstepds, tasks) sees a mount that only this node of this cluster has: a mark that no
# stale pid file and no recycled pid can counterfeit.
processes_of() {  # NODE, or every node without it
  local found
  found=$(grep -lE " [^ ]*/nodetmp/${1:-n[0-9]+} ${dir//./\\.}/pmix " /proc/[0-9]*/mountinfo 2>/dev/null || true)
  [ -z "$found" ] || alive "$(sed 's,^/proc/,,;s,/mountinfo$,,' <<<"$found")"
}

# slurmctld and munged, by their pid files, as far as those still speak of our processes.
daemons() {
  local file pid
  for file in "$dir"/run/slurmctld.pid "$dir"/run/munged.pid; do
    pid=$(cat "$file" 2>/dev/null || true)
    [[ $pid =~ ^[0-9]+$ ]] || continue
    if tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF "$base/"; then alive "$pid"; fi
  done 2>/dev/null
}

alive() {
  local pid
  for pid in $1; do
    # A zombie has ended; whether its parent takes notice is not ours to wait for.
    if [ -r "/proc/$pid/status" ] && ! grep -qs '^State:.Z' "/proc/$pid/status"; then echo "$pid"; fi
  done
}

# until_within SECONDS COMMAND...: polls, with a limit only for what never comes
until_within() {
  local until=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$until" ] || return 1
    sleep 0.05
  done
}
none_left() { [ -z "$("$@")" ]; }

end_processes() {  # SIGNAL COMMAND-THAT-LISTS...
  local signal=$1 pids
  shift
  pids=$("$@")
  # shellcheck disable=SC2086  # several pids; they may end in between
  if [ -n "$pids" ]; then kill "-$signal" $pids 2>/dev/null || true; fi
}
kill_again() {  # tasks may have started others in the meantime
  end_processes KILL "$@"
  none_left "$@"
}

is_running() { [ -n "$(daemons)$(processes_of)" ]; }

stop_cluster() {
  local ours
  # Listed once: they remove their pid files well before they end.
  ours=$(daemons)
  # All at once: slurmctld must not see nodes go and start requeuing.
  end_processes TERM daemons
  if ! until_within 10 kill_again processes_of; then
    echo "cluster: processes that cannot be killed: $(processes_of | tr '\n' ' ')" >&2
    return 1
  fi
  # slurmctld saves its state first.
  until_within 10 none_left alive "$ours" || end_processes KILL alive "$ours"
  until_within 5 none_left alive "$ours" || return 1
  if [ -s "$dir/run/link" ]; then rm -rf "$(dirname "$base")"; fi
  rm -rf "$dir/run"
}

# ---- start -----------------------------------------------------------------------------------------------------------
require_packages() {
  local program missing=()
  for program in slurmctld slurmd munged sinfo unshare mount flock; do
    command -v "$program" >/dev/null && continue
    case $program in
      slurmctld | slurmd) missing+=("$program") ;;
      munged) missing+=(munge) ;;
      sinfo) missing+=(slurm-client) ;;
      *) missing+=(util-linux) ;;
    esac
  done
  compgen -G '/usr/lib/*/slurm*/mpi_pmix.so' >/dev/null || missing+=(slurm-wlm-basic-plugins)
  [ ${#missing[@]} -eq 0 ] ||
    refuse "packages are missing: ${missing[*]} (launch/dependencies.sh slurm, in $root, installs them)"
}

# Ports that something on this host listens on.
listening() {
  cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4 == "0A" { n = split($2, a, ":"); print a[n] }' |
    while read -r hex; do echo $((16#$hex)); done
}
block_is_free() { awk -v first="$1" '$1 >= first && $1 < first + 500 { exit 1 }' <<<"$taken"; }
choose_port() {
  local taken
  taken=$(listening)
  if [ -n "$port" ]; then
    block_is_free "$port" || refuse "ports $port to $((port + 499)) are not all free"
    return
  fi
  # Below 32768, where the ports of outgoing connections begin.
  for ((port = 17000; port < 32000; port += 500)); do
    if block_is_free "$port"; then return; fi
  done
  refuse "no block of 500 free ports between 17000 and 32000"
}

write_configuration() {
  local i
  {
    cat <<END
ClusterName=headroom
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$port
SrunPortRange=$((port + 100))-$((port + 499))
# On loopback only: daemons and srun listen where their hosts' names lead (start_node) and nowhere else.
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A requeued job waits until its old credential has expired: 5 s, the least that Slurm takes, instead of 120.
AuthInfo=socket=$base/run/munge.sock,cred_expire=5
StateSaveLocation=$base/state
SlurmdSpoolDir=$base/spool/%n
SlurmctldPidFile=$base/run/slurmctld.pid
SlurmdPidFile=$base/run/slurmd.%n.pid
SlurmctldLogFile=$base/log/slurmctld.log
SlurmdLogFile=$base/log/slurmd.%n.log
# Containers have no cgroups to write to: processes are followed by their parents instead, and not bound to CPUs.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
# No slurmdbd; how jobs ended is appended to a file.
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$base/log/jobs.log
MpiDefault=pmix
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
# Tests wait for jobs: schedule as soon as something changed.
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1
# Nodes claim more CPUs and memory than this host has.
SlurmdParameters=config_overrides
# A limit of the shell that submits (ulimit) is none of the test's.
PropagateResourceLimits=NONE
# A node that was down is used again as soon as its slurmd reports.
ReturnToService=2
JobRequeue=1
# From SIGTERM to SIGKILL (default 30).
KillWait=3
# No grace beyond a time limit. Limits are whole minutes, but scontrol update JobId=J EndTime=now+10 on a running job
# is not; slurmctld looks every 30 s, so all of this, and --signal, may be that much off.
OverTimeLimit=0
# Ended jobs stay visible to squeue and scontrol.
MinJobAge=600
SlurmctldTimeout=10
# How long a silent node counts as alive, and how long one attempt to reach it takes (defaults 300 and 10).
SlurmdTimeout=5
MessageTimeout=5
MailProg=/bin/true
END
    for ((i = 1; i <= nodes; ++i)); do
      echo "NodeName=n$i NodeHostname=n$i NodeAddr=127.0.0.1 Port=$((port + i)) CPUs=$cpus Sockets=1" \
        "CoresPerSocket=$cpus ThreadsPerCore=1 RealMemory=16000 State=UNKNOWN"
    done
    echo "PartitionName=debug Nodes=n[1-$nodes] Default=YES MaxTime=INFINITE State=UP"
    echo "PartitionName=short Nodes=n$nodes MaxTime=10 State=UP"
    [ ${#extra[@]} -eq 0 ] || printf '%s\n' "${extra[@]}"
  } >"$dir/slurm.conf"
  # slurmd reads it even where no plugin asks for cgroups.
  echo "CgroupAutomount=no" >"$dir/cgroup.conf"
  # Two nodes' steps use equal names in it; each node mounts a folder of its own there.
  echo "PMIxCliTmpDirBase=$base/pmix" >"$dir/mpi.conf"
}

# A host name of its own, without which Open MPI takes all nodes for one and tries shared memory between them. The name
# leads to loopback, the other nodes' names to addresses that are no host's, for the same reason: ports tell nodes apart.
start_node() {
  local i
  mkdir -p "$dir/spool/$1" "$dir/nodetmp/$1"
  [ -s "$dir/nodetmp/$1.hosts" ] || {  # node-up finds it
    echo "127.0.0.1 localhost $(hostname -s) $1"
    for ((i = 1; i <= nodes; ++i)); do [ "n$i" = "$1" ] || echo "127.0.1.$i n$i"; done
  } >"$dir/nodetmp/$1.hosts"
  # shellcheck disable=SC2016
  unshare --uts --mount --propagation private bash -c '
    hostname "$1" && mount --bind "$2/nodetmp/$1" "$2/pmix" && mount --bind "$2/nodetmp/$1.hosts" /etc/hosts && exec slurmd -f "$SLURM_CONF" -N "$1"
  ' slurmd "$1" "$dir" </dev/null >>"$dir/log/start.log" 2>&1 8<&- 9<&-
}

# sinfo waits long where nobody answers, so slurmctld is asked only where it runs.
node_states() { timeout 5 sinfo -h -N -p debug -o '%N %t' 2>/dev/null || true; }
all_idle() { [ "$(node_states | grep -c ' idle$')" = "$nodes" ]; }
node_usable() { node_states | grep -qE "^$node (idle|mix|alloc|comp)\$"; }
controller_up() { [ -n "$(daemons)" ] && timeout 5 scontrol ping >/dev/null 2>&1; }

start_failed() {
  echo "cluster: $1. The last lines of the logs in $dir/log:" >&2
  tail -n 15 "$dir"/log/*.log >&2 || true
  stop_cluster || true
  exit 1
}

start_cluster() {
  local i
  require_packages
  mkdir -p "$dir"
  exec 8<"$dir"
  flock -n 8 || refuse "another cluster.sh starts one in $dir"
  ! is_running || refuse "a cluster runs in $dir; stop it first"
  # Left by one that did not end in order.
  if [ -s "$dir/run/link" ]; then rm -rf "$(dirname "$base")"; fi
  rm -rf "${dir:?}"/{run,state,spool,nodetmp,pmix}
  mkdir -p "$dir"/{state,log,spool,nodetmp,pmix}
  mkdir -m 700 "$dir/run"
  base=$dir
  if [ ${#dir} -gt 60 ]; then
    base=$(mktemp -d /tmp/hs.XXXXXX)/d
    ln -s "$dir" "$base"
    echo "$base" >"$dir/run/link"
  fi
  export SLURM_CONF=$base/slurm.conf
  trap 'start_failed interrupted' INT TERM
  # One at a time until the ports are taken; the lock is on a folder that all share, which leaves nothing behind.
  exec 9</tmp
  flock 9
  choose_port
  write_configuration
  (umask 077 && head -c 1024 /dev/urandom >"$dir/run/munge.key")
  # --force: munged dislikes that others may write to parent folders such as /tmp.
  munged --force --key-file="$base/run/munge.key" --socket="$base/run/munge.sock" --pid-file="$base/run/munged.pid" \
    --log-file="$base/log/munged.log" --seed-file="$base/run/munge.seed" \
    </dev/null >>"$dir/log/start.log" 2>&1 8<&- 9<&- || start_failed "munged did not start"
  slurmctld -f "$SLURM_CONF" </dev/null >>"$dir/log/start.log" 2>&1 8<&- 9<&- || start_failed "slurmctld did not start"
  for ((i = 1; i <= nodes; ++i)); do start_node "n$i" || start_failed "slurmd of n$i did not start"; done
  until_within 20 controller_up || start_failed "slurmctld does not answer"
  until_within 20 all_idle || start_failed "not all nodes came up"
  trap - INT TERM
  exec 9<&- 8<&-
  echo "A cluster of $nodes nodes (n1 to n$nodes, $cpus CPUs each) runs in $dir, ports from $port. To use it:"
  echo "  export SLURM_CONF=$SLURM_CONF"
  echo "Logs are in $dir/log. To end it: tests/slurm/cluster.sh stop $dir"
}

case $verb in
  start) start_cluster ;;
  stop)
    if is_running || [ -d "$dir/run" ]; then
      stop_cluster
    else
      echo "cluster: none runs in $dir" >&2
    fi
    ;;
  status)
    if ! is_running; then
      echo "no cluster runs in $dir"
      exit 1
    fi
    controller_up || { echo "a cluster is half there in $dir: slurmctld does not answer"; exit 1; }
    echo "export SLURM_CONF=$SLURM_CONF"
    sinfo -N -p debug -o '%.8N %.12t %.6c %E'
    squeue -o '%.10i %.20j %.4t %.10M %.6D %R'
    ;;
  node-down | node-up)
    controller_up || refuse "no cluster runs in $dir"
    grep -q "^NodeName=$node " "$dir/slurm.conf" || refuse "no node $node in $dir"
    if [ "$verb" = node-down ]; then
      [ -n "$(processes_of "$node")" ] || refuse "$node is down already"
      until_within 10 kill_again processes_of "$node" || { echo "cluster: $node does not die" >&2; exit 1; }
    else
      [ -z "$(processes_of "$node")" ] || refuse "$node runs already"
      start_node "$node"
      until_within 20 node_usable || { echo "cluster: $node did not come up; see $dir/log" >&2; exit 1; }
    fi
    ;;
esac
