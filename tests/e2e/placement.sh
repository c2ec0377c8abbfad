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
