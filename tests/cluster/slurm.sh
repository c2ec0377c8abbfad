#!/bin/bash
# Slurm in the box of box.sh: its controller beside the switches, a slurmd on each host, all from files of the box alone;
# nothing of a Slurm that this machine has is touched.
#
#   . tests/cluster/slurm.sh     then, after box_up:
#   slurm_up                     starts it; ends the script with 77 and the reason where Slurm is not installed
#   slurm_on COMMAND...          runs a command (sbatch, srun, squeue) beside the controller
#   slurm_node n3                starts the slurmd of a host, after a box_crash
. "$(dirname "${BASH_SOURCE[0]}")/box.sh"

slurm_up() {
  local tool host leaf fabric=$box_prefix-fabric
  for tool in slurmctld slurmd srun scontrol munged; do
    command -v $tool >/dev/null || box_skip "there is no $tool; scripts/install-deps.sh installs it"
  done
  mkdir -p "$BOX"/slurm/{state,log} && chmod 755 "$BOX" "$BOX/slurm" || return 1
  head -c 1024 /dev/urandom >"$BOX/slurm/munge.key" && chmod 400 "$BOX/slurm/munge.key" || return 1
  # The bridge is the controller's way to the hosts.
  ip -n "$fabric" link set lo up && ip -n "$fabric" address add 10.77.0.100/24 dev spine || return 1
  echo "10.77.0.100 ctl" >>"$BOX/hosts"
  cat >"$BOX/slurm/slurm.conf" <<CONF
ClusterName=box
SlurmctldHost=ctl(10.77.0.100)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$BOX/slurm/munge.socket
CredType=cred/munge
StateSaveLocation=$BOX/slurm/state
SlurmdSpoolDir=/dev/shm/slurmd
SlurmctldPidFile=$BOX/slurm/ctl.pid
SlurmdPidFile=/dev/shm/slurmd.pid
SlurmctldLogFile=$BOX/slurm/log/ctl
SlurmdLogFile=$BOX/slurm/log/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
TopologyPlugin=topology/tree
MpiDefault=pmix
ReturnToService=2
SlurmdTimeout=15
KillWait=20
JobRequeue=1
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=requeue_delay=1,bf_interval=2,sched_interval=2
$(printf 'NodeName=%s CPUs=4 State=UNKNOWN\n' $box_hosts)
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
PartitionName=low Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=20
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
CONF
  {
    echo 'SwitchName=spine Switches=leaf[0-1]'
    for leaf in leaf0 leaf1; do
      echo "SwitchName=$leaf Nodes=$(sed -n "s/ $leaf$//p" "$BOX/leaves" | paste -sd ,)"
    done
  } >"$BOX/slurm/topology.conf"
  # Files of a step belong to its host alone.
  echo 'PMIxCliTmpDirBase=/dev/shm' >"$BOX/slurm/mpi.conf"
  setpriv --pdeathsig KILL munged --foreground --force --socket="$BOX/slurm/munge.socket" --key-file="$BOX/slurm/munge.key" \
    --pid-file="$BOX/slurm/munge.pid" --seed-file="$BOX/slurm/munge.seed" --log-file="$BOX/slurm/log/munge" \
    </dev/null >>"$BOX/slurm/log/munge.out" 2>&1 &
  disown
  slurm_wait "munged" test -S "$BOX/slurm/munge.socket" || return 1
  # shellcheck disable=SC2016
  setpriv --pdeathsig KILL nsenter --net="/run/netns/$fabric" unshare --uts --mount sh -c '
    hostname ctl && mount --bind "$1/hosts" /etc/hosts && echo $$ >"$1/ctl.pid" &&
    SLURM_CONF=$1/slurm/slurm.conf exec slurmctld -D' ctl "$BOX" </dev/null >"$BOX/slurm/log/ctl.out" 2>&1 &
  disown
  for host in $box_hosts; do slurm_node "$host"; done
  slurm_wait "four idle nodes" slurm_idle 4
}

slurm_node() {
  box_on "$1" env SLURM_CONF="$BOX/slurm/slurm.conf" setpriv --pdeathsig KILL slurmd -D -N "$1" \
    </dev/null >>"$BOX/slurm/log/$1.out" 2>&1 &
  disown
}

slurm_idle() { [ "$(slurm_on timeout 5 sinfo -h -t idle -o %D 2>/dev/null | awk '{n += $1} END {print n + 0}')" = "$1" ]; }

slurm_wait() {  # slurm_wait WHAT COMMAND...: until it succeeds, for 30 s
  local what=$1 i
  shift
  for i in $(seq 300); do
    "$@" && return 0
    sleep 0.1
  done
  echo "slurm: no $what within 30 s" >&2
  tail -n 5 "$BOX"/slurm/log/* >&2
  return 1
}

slurm_on() {
  # shellcheck disable=SC2046
  nsenter -t "$(cat "$BOX/ctl.pid")" --net --uts --mount env SLURM_CONF="$BOX/slurm/slurm.conf" $(cat "$BOX/mpi") "$@"
}
