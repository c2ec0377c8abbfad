#!/bin/bash
# local_checkpoints.sh BANYAN: four ranks on four hosts below two switches, with node-local checkpoints in /dev/shm of each.
# A host is lost with all that is in its memory, between two checkpoints of the run directory: the next start goes on from
# the newest node-local one, for which the partner below the other switch has the copy, and trains what it would have
# trained, to the last bit.
. "$(dirname "$0")/box.sh"
box_up
TMPDIR=$BOX
. "$(dirname "$0")/../e2e/lib.sh"
box_guard

dataset "$scratch/tokens.h5"
config "$scratch/config.ini" gpt "$scratch/lost"
export BANYAN_LAUNCH_ARGS="--host n1,n2,n3,n4 --map-by node" BANYAN_LAUNCH_GRACE=3
mesh="--parallel.data=2 --parallel.pipeline=2 --parallel.zero=1 --train.steps=80"
local="--checkpoint.every_steps=20 --checkpoint.local=/dev/shm --checkpoint.local_every=3 --comm.peer_timeout=10s"

launch() {
  # shellcheck disable=SC2086
  box_on n1 "$repo/scripts/launch.sh" -n 4 --mpirun -- "$banyan" train "$scratch/config.ini" $mesh $local >"$1" 2>&1
}

launch "$scratch/run.log" &
job=$!
for i in $(seq 1200); do
  if grep -q 'saved step-0000000\(2[1-9]\|[3-6].\)\.e1 on the nodes' "$scratch/run.log"; then break; fi
  kill -0 $job 2>/dev/null || { cat "$scratch/run.log" >&2; fail "training ended by itself"; }
  sleep 0.05
done
box_crash n3
code=0
wait $job || code=$?
[ $code != 0 ] || { cat "$scratch/run.log" >&2; fail "the loss of a host was not noticed"; }
grep -q 'has a copy of its part on another one, below another switch' "$scratch/run.log" || fail "no partner below another switch"
newest=$(sed -n 's/.*saved step-0*\([1-9][0-9]*\)\.e1 .*/\1/p' "$scratch/run.log" | sort -n | tail -n 1)

code=0
launch "$scratch/out.log" || code=$?
[ $code = 0 ] || { cat "$scratch/run.log" "$scratch/out.log" >&2; fail "exit code $code of the next start"; }
from=$(sed -n 's/.*resuming after step \([0-9]*\).*/\1/p' "$scratch/out.log")
[ "$from" -ge "$newest" ] || { cat "$scratch/run.log" "$scratch/out.log" >&2; fail "resumed after step $from, $newest was saved"; }
says "on the nodes"
says "are fetched from other nodes"
says "from the nodes"  # into the run directory
echo "a host lost after step $newest was saved, resumed after step $from"
for host in $box_hosts; do
  [ -z "$(box_on "$host" find /dev/shm -name 'banyan-*')" ] || fail "node-local checkpoints are left on $host"
done

# shellcheck disable=SC2086
must 0 4 train "$scratch/config.ini" $mesh --run.dir="$scratch/whole" --comm.plans="$scratch/lost/plans.json"
same_losses "$scratch/lost" "$scratch/whole"
for run in lost whole; do
  "$banyan" inspect --digest "$scratch/$run" | grep '^digest ' >"$scratch/$run.digest" || fail "inspect --digest"
done
cmp "$scratch/lost.digest" "$scratch/whole.digest" || fail "the values at the end differ"
