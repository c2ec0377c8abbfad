#!/usr/bin/env bash
# simulate.sh [--ranks N] [--node RANKS] [--leaf NODES] [--ups N] [--placements N] [--seed N] [--json FILE]
#             [--again FILE] [--program FILE] [--section.key=value ...]
# Holds the predicted cost of placements against a simulation: builds banyan-sim (preset sim) unless --program names one,
# describes a fat tree of two levels of switches once for SimGrid and once for Banyan, and lets SimGrid's SMPI play
# training steps of banyan's own code on it, one for each placement. sim/README.md says what is real in it.
#   --ranks 256       ranks; --node of them on each host (8), --leaf hosts below each leaf switch (8)
#   --ups 2           cables from each leaf up, each like a host's one: 8 hosts with 2 ups are 4 to 1
#   --placements 24   drawn from --seed 1
#   --again FILE      plays nothing: prices anew what --json FILE of a run with the same options recorded
# What follows overrides keys of the configuration that is played, for example --parallel.tensor=4.
set -euo pipefail
cd "$(dirname "$0")/.."

ranks=256 node=8 leaf=8 ups=2 placements=24 seed=1 json='' program='' again='' overrides=()
while [ $# -gt 0 ]; do
  case $1 in
    --ranks) ranks=$2; shift ;;
    --node) node=$2; shift ;;
    --leaf) leaf=$2; shift ;;
    --ups) ups=$2; shift ;;
    --placements) placements=$2; shift ;;
    --seed) seed=$2; shift ;;
    --json) json=$2; shift ;;
    --program) program=$2; shift ;;
    --again) again=$2; shift ;;
    --plans | --*.*=*) overrides+=("$1") ;;
    *) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
  esac
  shift
done
hosts=$((ranks / node)) leaves=$((ranks / node / leaf))
if [ $((leaves * leaf * node)) != "$ranks" ] || [ "$leaves" -lt 2 ]; then
  echo "simulate.sh: $ranks ranks are not two or more leaves of $leaf hosts with $node ranks; change --ranks, --node or --leaf" >&2
  exit 64
fi
[ -n "$again" ] || for tool in smpirun smpicxx; do
  command -v $tool >/dev/null || { echo "simulate.sh: there is no $tool; scripts/install-deps.sh test installs it" >&2; exit 77; }
done
if [ -n "$again" ]; then
  program=${program:-build/release/banyan-referee}
  [ -x "$program" ] || { echo "simulate.sh: there is no $program; build it: cmake --build --preset release" >&2; exit 64; }
elif [ -z "$program" ]; then
  cmake --preset sim >/dev/null
  nice cmake --build --preset sim -j "$(nproc)" >build/sim/build.log 2>&1 || { cat build/sim/build.log >&2; exit 1; }
  program=build/sim/banyan-sim
fi

# What is played: a cable's and a memory's rate in GB/s, latencies in ns.
cable=12.5 memory=50 hop=500 inside=500
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cat >"$dir/platform.xml" <<END
<?xml version='1.0'?>
<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">
<platform version="4.1"><zone id="world" routing="Full">
<cluster id="tree" prefix="n" suffix="" radical="0-$((hosts - 1))" speed="1Gf" bw="${cable}GBps" lat="${hop}ns"
 loopback_bw="${memory}GBps" loopback_lat="${inside}ns" topology="FAT_TREE"
 topo_parameters="2;$leaf,$leaves;1,$ups;1,1" sharing_policy="SPLITDUPLEX"/>
</zone></platform>
END
{
  for ((l = 0; l < leaves; ++l)); do
    echo "switch leaf$l hosts=n[$((l * leaf))-$(((l + 1) * leaf - 1))] rate=${cable}GB"
  done
  echo "switch top switches=leaf[0-$((leaves - 1))] cables=$ups rate=$(awk "BEGIN { print $cable * $ups }")GB routes=in_turn"
} >"$dir/fabric"
# As a batch system may number them: neighbours hang from different leaves.
for ((h = 0; h < hosts; ++h)); do
  for ((r = 0; r < node; ++r)); do echo "n$((h % leaves * leaf + h / leaves))"; done
done >"$dir/hosts"
awk -v n="$node" -v leaf="$leaf" -v ups="$ups" -v cable=$cable -v memory=$memory -v hop=$hop -v inside=$inside 'BEGIN {
  print "[machine]\nname = a played fat tree\nsource = scripts/simulate.sh"
  print "[compute]\nfp32 = 20e12\ngemm_efficiency = 0.8\nattention_efficiency = 0.5\nkernel_seconds = 1e-6"
  print "[memory]\nbytes = 64GiB\nrate = 1TB"
  printf "[node]\nranks = %d\nlatency = %ge-9\nrate = %gGB\n", n, inside, memory
  printf "[leaf]\nnodes = %d\nlatency = %ge-9\nrate = %.6gGB\n", leaf, 2 * hop, cable / n
  printf "[spine]\nlatency = %ge-9\ntaper = %g\n", 4 * hop, (leaf > ups ? leaf / ups : 1)
}' >"$dir/machine.ini"
cat >"$dir/config.ini" <<END
[run]
machine = $dir/machine.ini
[topology]
source = $dir/fabric
[comm]
shared_memory = off
progress = calls
peer_timeout = 1h
# Fixed, as the price of placements has it, and because choosing plans for hundreds of ranks takes longer than playing them.
all_reduce = hierarchical
reduce_scatter = hierarchical
all_gather = dissemination
broadcast = binomial
barrier = dissemination
all_to_all = pairwise
[model]
layers = 8
width = 512
heads = 8
context = 128
vocab = 8192
tied = false
[parallel]
tensor = 8
pipeline = 4
microbatch = 1
[train]
batch = 64
END

if [ -n "$again" ]; then
  "$program" "$dir/config.ini" "$dir/hosts" "$again" ${json:+--json="$json"} "${overrides[@]}"
  exit
fi
# SMPI's own factors are those of an old Ethernet; the links are to be what is written above.
smpirun -np "$ranks" -platform "$dir/platform.xml" -hostfile "$dir/hosts" --log=root.thres:warning \
  --cfg=smpi/simulate-computation:no --cfg=smpi/bw-factor:0:1.0 --cfg=smpi/lat-factor:0:1.0 \
  --cfg=network/crosstraffic:0 --cfg=smpi/coll-selector:ompi --cfg=smpi/test:0 --cfg=smpi/iprobe:0 --cfg=smpi/wtime:0 --cfg=contexts/stack-size:1024 \
  "$program" "$dir/config.ini" --placements="$placements" --seed="$seed" ${json:+--json="$json"} "${overrides[@]}"
