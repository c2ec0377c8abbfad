#!/bin/bash
# A cluster in a box: four hosts n1 n2 n3 n4 on this machine, joined like a fat tree that is too thin.
#
#             spine
#   400 Mbit/s /  \ 400 Mbit/s          each way, by token buckets
#         leaf0    leaf1
#  1 Gbit/s / \    / \ 1 Gbit/s
#         n1  n2  n3  n4                10.77.0.1 ... 10.77.0.4
#
# BOX_LEAVES='0 1 0 1' hangs them from other leaves, so that their names say nothing about where they are.
#
# A host is a network namespace with its own host name, SysV memory and /dev/shm, so that nothing between two hosts goes
# by memory; files are shared. Switches are bridges in a namespace of their own: nothing appears in this machine's
# network.
#
#   . tests/cluster/box.sh       then:
#   box_up                       builds it; ends the script with 77 and the reason where that is not possible
#   box_on n2 COMMAND...         runs a command on a host
#   box_mpirun HOSTS OPTION...   Open MPI's mpirun, started on the first host; HOSTS is "n1,n2,n3,n4", or "n1:2,n2:2";
#                                rank 0 sits on the first of them
#   box_link n3 down             takes a host off the network
#   box_kill n3                  ends every process of a host
#   box_crash n3                 the same, but the host can be used again, with nothing in its memory
#   box_down                     takes everything away; runs by itself when the script ends
#
#   tests/cluster/box.sh COMMAND...    builds the box, runs COMMAND on n1 with BOX set, takes the box away
#
# Names carry the process id and start time of the script that owns them. What a killed script leaves behind is removed
# by the next box_up.
box_host_rate=${BOX_HOST_RATE:-1000mbit} box_uplink_rate=${BOX_UPLINK_RATE:-400mbit}
box_hosts='n1 n2 n3 n4' box_leaves=${BOX_LEAVES:-0 0 1 1}
box_prefix=''
box_tmp=${TMPDIR:-/tmp}  # a script may change TMPDIR afterwards

box_skip() {
  echo "SKIPPED: no cluster in a box, because $*" >&2
  exit 77
}

box_leaf() {  # box_leaf n3: the leaf that a host hangs from
  # shellcheck disable=SC2086
  set -- $((${1#n} + 1)) $box_leaves
  echo "leaf${!1}"
}

box_started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }

# box_end_processes NAMESPACE [PROCESS]: ends every process of a network namespace, but for PROCESS.
box_end_processes() {
  local attempt pids
  for attempt in $(seq 50); do
    pids=$(ip netns pids "$1" 2>/dev/null) || return 0
    pids=$(grep -vx "${2:-none}" <<<"$pids")
    [ -n "$pids" ] || return 0
    # shellcheck disable=SC2086
    kill -KILL $pids 2>/dev/null
    sleep 0.05
  done
  echo "box: processes $pids of $1 do not end" >&2
  return 1
}

box_remove() {  # box_remove PREFIX: all namespaces whose names begin with it, and the directory
  local name
  for name in $(ip netns list 2>/dev/null | cut -d ' ' -f 1 | grep "^$1-"); do
    box_end_processes "$name"
    ip netns delete "$name"
  done
  rm -rf "${box_tmp:?}/$1"
}

box_remove_leftovers() {
  local prefix owner started
  for prefix in $( (ip netns list | cut -d ' ' -f 1; cd "$box_tmp" && ls -d banyan-box.* ) 2>/dev/null |
      sed -n 's/^\(banyan-box\.[0-9]*\.[0-9]*\).*/\1/p' | sort -u); do
    owner=$(echo "$prefix" | cut -d . -f 2) started=$(echo "$prefix" | cut -d . -f 3)
    [ "$(box_started "$owner")" = "$started" ] || box_remove "$prefix"
  done
}

# box_cable HOST-END-NAMESPACE NAME SWITCH RATE: a veth pair with a token bucket on both ends.
box_cable() {
  local there=$1 name=$2 switch=$3 rate=$4 fabric=$box_prefix-fabric
  ip -n "$fabric" link add "$name" type veth peer name "$name-end" &&
    ip -n "$fabric" link set "$name" master "$switch" up &&
    tc -n "$fabric" qdisc add dev "$name" root tbf rate "$rate" burst 256kb latency 50ms || return 1
  if [ "$there" = "$fabric" ]; then
    ip -n "$fabric" link set "$name-end" master spine up || return 1
    tc -n "$fabric" qdisc add dev "$name-end" root tbf rate "$rate" burst 256kb latency 50ms
  else
    ip -n "$fabric" link set "$name-end" netns "$there" name eth0 || return 1
    tc -n "$there" qdisc add dev eth0 root tbf rate "$rate" burst 256kb latency 50ms
  fi
}

box_build() {
  local fabric=$box_prefix-fabric host switch i=0
  ip netns add "$fabric" || return 1
  for switch in spine leaf0 leaf1; do
    ip -n "$fabric" link add "$switch" type bridge && ip -n "$fabric" link set "$switch" up || return 1
  done
  box_cable "$fabric" up0 leaf0 "$box_uplink_rate" && box_cable "$fabric" up1 leaf1 "$box_uplink_rate" || return 1
  echo '127.0.0.1 localhost' >"$BOX/hosts"
  for host in $box_hosts; do
    i=$((i + 1))
    ip netns add "$box_prefix-$host" &&
      box_cable "$box_prefix-$host" "$host" "$(box_leaf "$host")" "$box_host_rate" &&
      ip -n "$box_prefix-$host" link set lo up && ip -n "$box_prefix-$host" address add 10.77.0.$i/24 dev eth0 &&
      ip -n "$box_prefix-$host" link set eth0 up || return 1
    echo "10.77.0.$i $host" >>"$BOX/hosts"
    echo "$host $(box_leaf "$host")" >>"$BOX/leaves"
  done
  for host in $box_hosts; do
    # The process that keeps a host's namespaces; it dies with this script, whatever happens to it.
    # shellcheck disable=SC2016
    setpriv --pdeathsig KILL nsenter --net="/run/netns/$box_prefix-$host" unshare --uts --ipc --mount sh -c '
      hostname "$1" && mount -t tmpfs tmpfs /dev/shm && mount --bind "$2/hosts" /etc/hosts && echo $$ >"$2/$1.pid" &&
      exec sleep 1000000' host "$host" "$BOX" </dev/null >"$BOX/$host.log" 2>&1 &
    disown  # no word of how it ended
  done
  for host in $box_hosts; do
    for i in $(seq 100); do [ -s "$BOX/$host.pid" ] && break; sleep 0.05; done
    [ -s "$BOX/$host.pid" ] || { cat "$BOX/$host.log"; return 1; }
  done
}

# Takes the box away when the script ends; to be called again by who has set traps of their own.
box_guard() {
  trap box_down EXIT
  trap 'exit 130' INT TERM HUP
}

box_up() {
  local tool said
  [ "$(id -u)" = 0 ] || box_skip "it needs root"
  for tool in ip tc nsenter unshare setpriv mpirun; do
    command -v $tool >/dev/null || box_skip "there is no $tool; scripts/install-deps.sh installs it"
  done
  box_remove_leftovers
  box_prefix=banyan-box.$$.$(box_started $$)
  export BOX=$box_tmp/$box_prefix
  box_guard
  mkdir -p "$BOX"
  box_build >"$BOX/build.log" 2>&1 || {
    said=$(tail -n 3 "$BOX/build.log" | tr '\n' ' ')
    box_skip "this machine does not allow or know how to build it: $said"
  }
  # What ranks must know, whoever starts them: nothing goes by other networks, and more ranks than processors share them.
  printf 'OMPI_MCA_%s\n' pml=ob1 btl=self,vader,tcp btl_tcp_if_include=eth0 mpi_yield_when_idle=1 >"$BOX/mpi"
  # Runs a command on a host; mpirun starts its daemons with it, as it would with ssh: AGENT HOST COMMAND...
  cat >"$BOX/agent" <<'AGENT'
#!/bin/bash
host=$1 box=$(dirname "$0")
shift
# Slurm tells every task its switches like this.
leaf=$(sed -n "s/^$host //p" "$box/leaves")
export SLURM_TOPOLOGY_ADDR=spine.$leaf.$host SLURM_TOPOLOGY_ADDR_PATTERN=switch.switch.node
# What mpirun must know here: how to reach a host, and that a session's files stay on their host; and what its ranks must.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_plm_rsh_agent="$0" \
  OMPI_MCA_plm_rsh_no_tree_spawn=1 OMPI_MCA_orte_tmpdir_base=/dev/shm OMPI_MCA_oob_tcp_if_include=eth0
set -a
. "$box/mpi"
set +a
exec nsenter -t "$(cat "$box/$host.pid")" --net --uts --ipc --mount bash -c "$*"
AGENT
  chmod +x "$BOX/agent"
}

box_on() {
  local host=$1
  shift
  "$BOX/agent" "$host" "$(printf '%q ' "$@")"
}

box_mpirun() {
  local hosts=$1
  shift
  box_on "${hosts%%[:,]*}" mpirun --host "$hosts" --map-by node --bind-to none "$@"
}

box_link() { ip -n "$box_prefix-fabric" link set "$1" "$2"; }

box_kill() { box_end_processes "$box_prefix-$1"; }

box_crash() {
  box_end_processes "$box_prefix-$1" "$(cat "$BOX/$1.pid")" && box_on "$1" find /dev/shm -mindepth 1 -delete
}

box_down() {
  local code=$?
  trap '' INT TERM HUP
  [ -z "$box_prefix" ] || box_remove "$box_prefix"
  box_prefix=''
  trap - EXIT INT TERM HUP
  exit $code
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  [ $# -gt 0 ] || { sed -n '2,/^box_host_rate/{/^box/!s/^# \{0,1\}//p}' "$0" >&2; exit 64; }
  box_up
  box_on n1 "$@"
fi
