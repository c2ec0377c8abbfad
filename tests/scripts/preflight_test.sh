#!/usr/bin/env bash
# scripts/slurm/preflight.sh with made-up nodes and program: what it refuses, its codes, and which nodes it blames.
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for name in $(compgen -v SLURM_) $(compgen -v BANYAN); do unset "$name"; done
mkdir "$dir/bin"
export PATH=$dir/bin:$PATH BANYAN=$dir/bin/banyan TMPDIR=$dir
touch "$dir/tokens.h5"

# One rank takes no schedule, chunks or stages of several.
cat >"$dir/bin/banyan" <<'END2'
#!/bin/bash
last() {
  local a value=$2
  for a in "${all[@]}"; do case $a in --parallel.$1=*) value=${a#*=} ;; esac; done
  echo "$value"
}
all=("$@")
case "$*" in
  plan*)
    [ "$(last schedule 1f1b)/$(last virtual_stages 0)/$(last stages auto)" = 1f1b/0/auto ] || exit 78
    [ -z "${PARAMETERS:-}" ] || echo "  parameters  475 MiB  $PARAMETERS x 4 B" ;;
  *--print-value=data.train*) [ -z "${REFUSE:-}" ] || exit "$REFUSE"; echo "$TMPDIR/tokens.h5:2" ;;
esac
END2
printf '#!/bin/bash\n' >"$dir/bin/launcher"
chmod +x "$dir"/bin/*
# tool NAME LINE...: a made-up program on the PATH until the next without.
tool() { printf '%s\n' '#!/bin/bash' "${@:2}" >"$dir/bin/$1"; chmod +x "$dir/bin/$1"; }
without() { rm -f "$dir/bin/$1"; }

failures=0
bad() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}
same() { [ "$2" = "$3" ] || bad "$1: '$2' instead of '$3'"; }  # same WHAT GOT WANTED

. "$root/scripts/slurm/lib.sh"
run_dir=$dir/run launcher=launcher
each_node() {
  local node
  if [ "$1" = ranks ]; then
    if [ -n "$sick$mute$apart$crash" ]; then return 69; fi
    return
  fi
  for node in $nodes; do SLURMD_NODENAME=$node "${@:2}"; done
}
# Nodes on which MPI does not start, that find no other node, that do not find the others of this list, and that crash once.
sick='' mute='' apart='' crash=''
ranks_on() {
  local node beyond=0
  for node in $1; do
    if [[ " $sick " = *" $node "* ]] || [[ " $mute " = *" $node "* && $1 = *" "* ]]; then return 69; fi
    if [[ " $crash " = *" $node "* ]] && mkdir "$dir/crashed.$node" 2>/dev/null; then return 139; fi
    if [[ " $apart " = *" $node "* ]]; then beyond=$((beyond + 1)); fi
  done
  [ $beyond -lt 2 ]
}
# pre CODE LOST WHAT [ARGUMENT...]: how the preflight ends on $nodes, and whom it blames; its words are in $dir/out.
pre() {
  code=0 lost=''
  preflight x.ini "${@:4}" 2>"$dir/out"
  same "$3" "$? $code $lost" "$(($1 > 0)) $1 $2"
  [ -z "$(ls -A "$run_dir" 2>/dev/null | grep '^\.preflight')" ] || bad "$3: left behind $(ls -A "$run_dir")"
}
said() { grep -q "$1" "$dir/out" || bad "it does not say '$1': $(cat "$dir/out")"; }

nodes="n1 n2"
pre 0 '' "all well"
REFUSE=78 pre 78 '' "the data files are refused"

# ------------------------------------------------------------------------------------------------------- room
tool df 'case "$*" in *shm*) exec /usr/bin/df "$@" ;; -Pi*) exit ;; esac' \
  'printf "%s\n" "Filesystem" "x 9999 0 ${FREE:-0} 1% /"'
export FREE=100
PARAMETERS=1000 pre 0 '' "room for a first checkpoint"
PARAMETERS=100000 pre 74 '' "no room for a first checkpoint"
for option in --parallel.schedule=interleaved --parallel.virtual_stages=2 --parallel.stages=5,7; do
  PARAMETERS=100000 pre 74 '' "no room with $option" $option
done
# What the program removes when it starts is not in the way.
mkdir -p "$run_dir"/ckpt/{step-000000010.e1,step-000000020.e1.tmp,.trash-step-000000005.e1}
head -c 204800 /dev/urandom >"$run_dir/ckpt/step-000000010.e1/0"
pre 74 '' "no room for another checkpoint"
head -c 102400 /dev/urandom >"$run_dir/ckpt/step-000000020.e1.tmp/0"
head -c 102400 /dev/urandom >"$run_dir/ckpt/.trash-step-000000005.e1/0"
tool fallocate 'echo "$*" >"$TMPDIR/reserved"'
pre 0 '' "room where a save was killed"
got=$(sed -n 's/-l \([0-9]*\)KiB .*/\1/p' "$dir/reserved")
[ "${got:-0}" -ge 1 ] && [ "$got" -le 100 ] || bad "reserved: $(cat "$dir/reserved")"
FREE=1000 pre 0 '' "room beside it"
tool df 'case "$*" in *shm*) exec /usr/bin/df "$@" ;; -Pi*) echo; echo "x 99 0 ${FILES:-99} 1% /" ;;' \
  '*) printf "%s\n" "Filesystem" "x 9999 0 9999 1% /" ;; esac'
FILES=29 pre 0 '' "files where a save was killed"
FILES=28 pre 74 '' "no more files"
without fallocate
without df
rm -r "$run_dir/ckpt"

# A file system without a file to spare is worth another try; one where nothing may be written is not.
# The path has the name of a node in it, but is the same for all.
if [ "${1:-}" = full ]; then
  mount -t tmpfs -o nr_inodes=4 tmpfs "$run_dir" && mkdir "$run_dir/n2" && run_dir=$run_dir/n2 || exit 1
  trap 'umount "$dir/run"; rm -rf "$dir"' EXIT
  pre 0 '' "files to spare"
  : >"$run_dir/1"
  pre 74 '' "a file for the batch node alone"
  said 'no node is fit'
  : >"$run_dir/2"
  pre 74 '' "no file to spare"
  said "cannot write into the run directory $run_dir: No space left on device"
  run_dir=$run_dir/new pre 74 '' "no file to spare for the run directory"
  exit $((failures > 0))
fi
for way in --mount "--map-root-user --mount"; do
  if unshare $way true 2>/dev/null; then unshare $way bash "$0" full || bad "a file system without a file to spare"; way=''; break; fi
done
[ -z "$way" ] || echo "not tried, since this machine gives no mount namespace: a file system without a file to spare"
run_dir=$dir/tokens.h5/run pre 78 '' "a run directory that cannot be"
said 'cannot write into the run directory .*: Not a directory'
# Where it was enough for some of the nodes, the others are not ill. Those whose storage fails are.
some() {  # some CODE LOST WORDS [WORDS]: n1 is well, n2 and n3 say what is wrong
  nodes="n1 n2 n3" words=("${@:3}")
  each_node() { printf "node %s $(date +%s) aa 0 %s
" n1 '' n2 "${words[0]}" n3 "${words[1]-}"; }
  pre "$1" "$2" "nodes that say ${words[*]}"
}
asked=$(declare -f each_node)
some 74 '' 'cannot write into /r: No space left on device'
some 74 '' 'cannot write into /r: Disk quota exceeded' 'cannot write into /r: Disk quota exceeded'
some 69 n2 'cannot write into /r: Stale file handle'
some 69 n2,n3 'BANYAN_NODE_CHECK ended with 1: timed out' 'BANYAN_NODE_CHECK ended with 1: timed out'
some 69 n3 'cannot write into /r: No space left on device' 'cannot run x'
each_node() { :; }
nodes="n1 n2" pre 69 '' "no node answers"
nodes=n1 pre 69 n1 "the only node does not answer"
each_node() { echo "node n1 $(date +%s) - 0"; }
nodes="n1 n2" pre 69 n2 "one of two does not answer"
nodes="n1 n2 n3" pre 69 '' "most nodes do not answer"
eval "$asked"

# ------------------------------------------------------------------------------------------------------ nodes
# One node does not tell what others would say; two that say the same do, two with different ills do not.
export BANYAN_NODE_CHECK='case $SLURMD_NODENAME in n[12]) echo "fan of $SLURMD_NODENAME"; exit 1 ;; n3) exit 2 ;; esac'
nodes=n1 pre 69 n1 "an ill node alone"
said 'n1: BANYAN_NODE_CHECK ended with 1: fan of n1'
nodes="n1 n2" pre 78 '' "two nodes with the same ill"
BANYAN_NODE_CHECK='echo timed out; exit 1' pre 78 '' "two nodes whose check does not end"
nodes="n1 n3" pre 69 n1,n3 "two nodes with different ills"
nodes="n1 n4" pre 69 n1 "an ill node of two"
nodes="n4 n5" pre 0 '' "two nodes that are well"
unset BANYAN_NODE_CHECK

# ------------------------------------------------------------------------------------------------------ ranks
meet() {  # meet LOST WHAT: whom the preflight blames when the ranks of $nodes do not meet
  pre 69 "$@"
  said 'ranks do not start on these nodes'
  sick='' mute='' apart='' crash=''
}
nodes="n1 n2 n3 n4 n5"
sick="n4" meet n4 "a node without MPI"
said 'preflight: n4: MPI does not start, not even alone'
sick="n1 n4" meet n1,n4 "two nodes without MPI"
sick="n1 n4 n5" meet '' "most nodes without MPI, which may be the launcher's fault"
sick=$nodes meet '' "MPI starts nowhere"
crash=n3 meet '' "an MPI library that crashes once"
for node in $nodes; do
  mute=$node meet "$node" "$node finds nobody"
  said "preflight: $node: MPI starts, but finds no other node"
done
mute="n1 n2" meet n1,n2 "two that find nobody"
mute=$nodes meet '' "nobody finds anybody"
apart="n1 n2" meet '' "two neighbours that miss each other"
apart="n1 n3" meet '' "two others that miss each other"
nodes="n1 n2 n3"
for node in $nodes; do mute=$node meet "$node" "$node of three finds nobody"; done
nodes="n1 n2"
sick=n1 meet n1 "one of two without MPI"
mute=n1 meet '' "two that miss each other"
nodes=n1
sick=n1 meet n1 "one node without MPI"
# When only some could be tried, or all nodes that were tried failed, nobody else is known to be well.
judged() { same "pairs: $1" "$(printf '%s\n' "${@:3}" | judge_pairs | paste -sd ,)" "$2"; }
judged "one left out" '' 'not a b' 'met b c' 'met c d'
judged "a half left out" a 'not a b' 'met b c' 'met c d' 'not d a'

clocks() {  # clocks WHAT BEFORE BLAMED TIME...: of nodes n1, n2, ... asked when this clock was at BEFORE
  local names='' lines='' i
  for ((i = 1; i <= $# - 3; i++)); do names+=" n$i" lines+="node n$i ${*:i+3:1} aa 0"$'\n'; done
  lines=$(judge_nodes "${names# }" "$2" $(($2 + 3)) <<<"$lines")
  same "clocks: $1" "$(sed 's/: its clock.*//' <<<"$lines" | paste -sd ,)" "$3"
}
clocks "all well" 1000 '' 1000 1001 1002
clocks "the batch node's" 5000 n1 5000 1000 1000 1001
clocks "the batch node's, of three" 5000 n1 5001 1000 1001
clocks "the batch node's is behind" 1000 n2 9000 1000 9001 9002 9003
clocks "another one's" 1000 n3 1000 1001 5000 1001
clocks "one of two" 1000 n2 1000 5000
clocks "this machine is none of the nodes" 5000 '' 1000 1001 1002

# A node answers under the name by which it was asked, be it an address.
tool hostname 'case "$1" in -s) echo n7 ;; -f) echo n7.cluster ;; -I) echo "10.0.0.7 fd00::7" ;; *) echo n7 ;; esac'
named() {  # named NODES WANTED
  local line
  line=$(env -u SLURMD_NODENAME bash "$root/scripts/slurm/lib.sh" node-check "$run_dir" x "$1")
  same "named of $1" "$(cut -d ' ' -f 2 <<<"$line")" "$2"
}
named n6,n7 n7
named n6,n7.cluster n7.cluster
named 10.0.0.6,10.0.0.7,10.0.0.77 10.0.0.7
named 10.0.0.70 n7
named - n7
each_node() { [ "$1" = ranks ] || env -u SLURMD_NODENAME "${@:2}"; }
nodes=10.0.0.7 pre 0 '' "a node asked under its address"
without hostname

[ $failures = 0 ] && echo "all passed"
exit $((failures > 0))
