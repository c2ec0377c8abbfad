#!/bin/sh
# placement.sh BANYAN: whatever rank holds whatever part of the model, the recorded plans give the same bits; switches
# come from a file; what is wrong is refused.
. "$(dirname "$0")/lib.sh"
dataset "$scratch/tokens.h5"
config "$scratch/c.ini" gpt2 "$scratch/run"
mesh="--parallel.tensor=2 --parallel.data=2 --parallel.pipeline=2 --parallel.zero=1 --train.steps=8 --checkpoint.every_steps=4"

# train CODE RUN OPTION...
train() {
  want=$1 run=$scratch/$2
  shift 2
  # shellcheck disable=SC2086
  must "$want" 8 train "$scratch/c.ini" --run.dir="$run" $mesh "$@"
}

# ---- orders of ranks: one book, the same losses and tensors
train 0 base
grep -q '^placement: the order of the ranks is as good as any' "$scratch/base/plan.txt" || fail "plan.txt does not say why"
echo '7 2 5 0 # any order
6 1 4 3' > "$scratch/order"
train 0 pinned --comm.plans="$scratch/base/plans.json" --topology.placement=pinned:"$scratch/order"
grep -q 'tensor   0  data   0  pipeline   0   rank    7' "$scratch/pinned/plan.txt" || fail "rank 7 is not the first"
same_losses "$scratch/base" "$scratch/pinned"
"$banyan" inspect --digest "$scratch/base" | grep '^digest ' > "$scratch/digest.a"
"$banyan" inspect --digest "$scratch/pinned" | grep '^digest ' > "$scratch/digest.b"
cmp "$scratch/digest.a" "$scratch/digest.b" || fail "another order ends with other tensors"

# ---- half a run in one order, the rest in another
train 0 moved --train.steps=4 --comm.plans="$scratch/base/plans.json" --optimizer.schedule=constant
train 0 moved --topology.placement=pinned:"$scratch/order" --optimizer.schedule=constant
train 0 stayed --comm.plans="$scratch/base/plans.json" --optimizer.schedule=constant
same_losses "$scratch/moved" "$scratch/stayed"

# ---- switches from a file
printf 'switch leaf hosts=%s rate=125MB\nswitch spine switches=leaf\n' "$(hostname)" > "$scratch/fabric"
train 0 switches --topology.source="$scratch/fabric" --topology.placement=identity
train 0 flat --topology.source=flat

# ---- what programs tell: cables, and routes where dump_fts has them; what Slurm tells otherwise is told
mkdir "$scratch/bin"
host=$(hostname)
switch='Switch\t4 "S-1"\t\t# "leaf" enhanced port 0 lid 3 lmc 0\n'
{
  printf 'vendid=0x2c9\ndevid=0xcf08\nsysimgguid=0x1\nswitchguid=0x1(1)\n'"$switch"
  printf '[1]\t"H-2"[1](3) \t\t# "%s mlx5_0" lid 7 4xHDR\n[2]\t"H-4"[1](5) \t\t# "%s mlx5_0" lid 8 4xHDR\n' "$host" other
  for adapter in "2 $host 7 1" '4 other 8 2'; do
    set -- $adapter
    printf '\nvendid=0x2c9\ndevid=0xcf08\nsysimgguid=0x%d\ncaguid=0x%d(%d)\nCa\t1 "H-%d"\t\t# "%s mlx5_0"\n' "$1" "$1" "$1" "$1" "$2"
    printf '[1](%d) \t"S-1"[%d]\t\t# lid %d lmc 0 "leaf" lid 3 4xHDR\n' $(($1 + 1)) "$4" "$3"
  done
} > "$scratch/cables"
{
  echo 'Unicast lids [0x0-0x8] of switch DR path slid 0; dlid 0; 0,1 guid 0x0000000000000001 (leaf):'
  printf '  Lid  Out   Destination\n       Port     Info \n'
  printf '0x%04x %03d : (Channel Adapter portguid 0x%016x: %s)\n' 7 1 3 "'x'" 8 2 5 "'y'"
  echo '2 valid lids dumped'
} > "$scratch/tables"
printf '#!/bin/sh\ncat "%s/cables"\n' "$scratch" > "$scratch/bin/ibnetdiscover"
printf '#!/bin/sh\ncat "%s/tables"\n' "$scratch" > "$scratch/bin/dump_fts"
chmod +x "$scratch/bin/ibnetdiscover" "$scratch/bin/dump_fts"
PATH=$scratch/bin:$PATH
must 0 2 topo --job "$scratch/c.ini" --topology.source=ib
says "2 hosts, 1 switches"
grep -q 'routes are not known' "$scratch/out.log" && fail "routes that were told are not known"
echo 'no tables' > "$scratch/tables"
must 0 2 topo --job "$scratch/c.ini" --topology.source=ib
says "routes are not known and taken to be even: dump_fts: "
printf '#!/bin/sh\nexit 3\n' > "$scratch/bin/dump_fts"
must 0 2 topo --job "$scratch/c.ini" --topology.source=ib
says "routes are not known and taken to be even: "
export SLURM_TOPOLOGY_ADDR="row.rack.$host" SLURM_TOPOLOGY_ADDR_PATTERN=switch.switch.node
must 0 2 topo --job "$scratch/c.ini" --topology.source=ib
grep -q disagree "$scratch/out.log" && fail "a host below one switch and one below others are no contradiction"
unset SLURM_TOPOLOGY_ADDR SLURM_TOPOLOGY_ADDR_PATTERN

# ---- what is wrong
echo 'switch leaf hosts=elsewhere' > "$scratch/stale"
train 65 no --topology.source="$scratch/stale"
says "host $(hostname) is not in it"
train 78 no --topology.source=/nowhere
says "topology.source = /nowhere: there is no such file"
train 78 no --topology.placement=best
says "topology.placement = best is not known; use auto, identity or pinned:FILE"
echo '0 1 2 3' > "$scratch/short"
train 78 no --topology.placement=pinned:"$scratch/short"
says "4 ranks, but the mesh has 8"
echo "placement: all as it should be"
