#!/bin/bash
# local.sh BANYAN LIBRARY STRIDE: node-local checkpoints of one rank, of which something goes wrong: the directory is not there,
# is a file system without room, fails calls (libfaultio.cpp), or the rank is killed at a call that concerns it: the 1st,
# the 1 + STRIDE th, ...  Training goes on, or the next start goes on from the last acknowledged checkpoint of either kind;
# losses and values are those of a job that has none of them, to the bit, and when it has ended nothing is left behind.
. "$(dirname "$0")/lib.sh"
stride=$3
prepare 1
plain=$job
rm -rf "$scratch/template/run/shared-probe"
injected=0 broken=0 missed=

# with LOCAL: jobs have a node-local checkpoint after every step but those that the run directory gets.
with() { job="${plain/every_steps=2/every_steps=4} --checkpoint.local=$1 --checkpoint.local_every=1"; }

bad() {
  broken=$((broken + 1))
  echo "BROKEN $*"
  cut -c 1-200 "$run.log" | head -n 40
}

# fresh: a run that stands after step 4, with an empty directory for its node.
fresh() {
  rm -rf "$scratch/lane"
  mkdir -p "$scratch/lane/local" "$scratch/lane/pids"
  run=$scratch/lane/run
  cp -r "$scratch/template/run" "$run"
  with "$scratch/lane/local"
}

# ends WHAT: the job has come to its end as if nothing had been.
ends() {
  [ "$code" = 0 ] || bad "$1: it ended with $code"
  losses "$run" | cmp -s - "$scratch/whole.losses" || bad "$1: it went on with other losses"
  digest_of "$run" | cmp -s - "$scratch/whole.digest" || bad "$1: it went on with other values"
  left=$(ls -A "$scratch/lane/local")
  [ -z "$left" ] || bad "$1: left behind: $left"
}

# one CALL ACTION N: a fault below the directory; false when it was not reached.
one() {
  fresh
  code=0
  job "$run" 1 $last "$run.log" LD_PRELOAD="$library" FAULT_UNDER="$scratch/lane/local" FAULT="$1:$3:$2" FAULT_RANK=0 \
    FAULT_PIDS="$scratch/lane/pids" FAULT_REACHED="$run.reached" || code=$?
  if [ ! -e "$run.reached" ]; then
    [ $code = 0 ] || bad "$1:$3:$2, not reached: it ended with $code"
    return 1
  fi
  injected=$((injected + 1))
  if [ "$2" != kill ]; then
    ends "$1:$3:$2"
    return 0
  fi
  [ $code != 0 ] || bad "$1:$3:$2: it was not noticed"
  acknowledged=$(sed -n 's/.*saved step-0*\([1-9][0-9]*\)\.e.*/\1/p' "$run.log" | sort -n | tail -n 1)
  wrong=$(recovers "$run" 1 "${acknowledged:-4}")
  [ -z "$wrong" ] || bad "$1:$3:$2, step ${acknowledged:-4} was acknowledged: $wrong"
  left=$(ls -A "$scratch/lane/local")
  [ -z "$left" ] || bad "$1:$3:$2: left behind: $left"
}

sweep() {  # sweep CALL ACTION STRIDE
  local n=1 before=$injected
  while one "$1" "$2" $n; do n=$((n + $3)); done
  echo "$1 $2, every $3: $((injected - before)) faults"
  # A sweep that meets no call at all has seen nothing: the call is not made any more, or the library is not loaded.
  [ $injected -gt $before ] || missed="$missed $1:$2"
}

fresh
code=0
job "$run" 1 $last "$run.log" || code=$?
ends "no fault"
grep -q 'saved step-000000005.e2 on the nodes' "$run.log" || bad "no node-local checkpoint was made"

fresh
with "$scratch/lane/nothing"
injected=$((injected + 1))
code=0
job "$run" 1 $last "$run.log" || code=$?
ends "a missing directory"
grep -q 'no node-local checkpoints, those of run.dir alone' "$run.log" || bad "a missing directory: not a word of it"
[ ! -e "$scratch/lane/nothing" ] || bad "a missing directory was made"

if unshare -rm true 2>/dev/null; then
  fresh
  injected=$((injected + 1))
  code=0
  launch_in_small() { unshare -rm sh -c 'mount -t tmpfs -o size=64k tmpfs "$1" && shift && exec "$@"' sh "$scratch/lane/local" "$@"; }
  # shellcheck disable=SC2086
  launch_in_small timeout -k 5 100 "$banyan" train "$scratch/c.ini" $job --run.dir="$run" --train.steps=$last \
    >"$run.log" 2>&1 || code=$?
  ends "a full file system"
  [ "$(grep -c 'warning: no node-local checkpoint after step' "$run.log")" = 3 ] || bad "a full file system: no three warnings"
  grep -q 'there will be no more of them in this attempt' "$run.log" || bad "a full file system: it went on trying"
else
  echo "left out: a full file system, which needs unshare -rm"
fi

sweep any kill "$stride"
sweep pwrite ENOSPC "$((stride / 2 + 1))"
sweep fsync EIO "$((stride / 3 + 1))"
sweep rename EIO "$((stride / 3 + 1))"
echo "$injected faults injected, $broken promises broken"
[ -z "$missed" ] || fail "never reached:$missed"
[ $broken = 0 ]
