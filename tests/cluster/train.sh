#!/bin/bash
# train.sh BANYAN: training with one rank on each of four hosts, started by scripts/launch.sh; the losses are those of
# four ranks on one host by the same plans, to the last digit.
. "$(dirname "$0")/box.sh"
box_up
TMPDIR=$BOX
. "$(dirname "$0")/../e2e/lib.sh"
box_guard

dataset "$scratch/tokens.h5"
config "$scratch/config.ini" gpt "$scratch/across"
BANYAN_LAUNCH_ARGS="--host n1,n3,n2,n4 --map-by node"
export BANYAN_LAUNCH_ARGS
code=0
box_on n1 "$repo/scripts/launch.sh" -n 4 --mpirun -- "$banyan" train "$scratch/config.ini" --parallel.data=2 \
  --parallel.pipeline=2 >"$scratch/out.log" 2>&1 || code=$?
[ $code = 0 ] || { cat "$scratch/out.log" >&2; fail "exit code $code across the hosts"; }

must 0 4 train "$scratch/config.ini" --parallel.data=2 --parallel.pipeline=2 --run.dir="$scratch/here" \
  --comm.plans="$scratch/across/plans.json"
same_losses "$scratch/across" "$scratch/here"
