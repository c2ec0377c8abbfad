#!/bin/sh
# loop.sh BANYAN: scripts/mpirun-loop.sh brings a job back whose rank was killed, and TERM ends both for good; the losses are
# those of a run that nothing happened to.
. "$(dirname "$0")/lib.sh"
dataset "$scratch/tokens.h5"
config "$scratch/c.ini" gpt2 "$scratch/run"
export BANYAN="$banyan" BANYAN_LAUNCH_GRACE=5 BANYAN_BACKOFF=2
options="--train.steps=400 --checkpoint.every_steps=20 --log.every=50"
loop() {
  # shellcheck disable=SC2086
  "$repo/scripts/mpirun-loop.sh" -n 2 "$scratch/c.ini" $options > "$scratch/run.log" 2>&1 &
  job=$!
}
ended() { # ended CODE ACTIONS
  code=0
  wait $job || code=$?
  [ $code = "$1" ] || { cat "$scratch/run.log" >&2; fail "exit code $code instead of $1"; }
  actions=$(sed 's/.*action=//' "$scratch/run/ends.txt" | paste -sd ' ')
  [ "$actions" = "$2" ] || { cat "$scratch/run/ends.txt" >&2; fail "'$actions' instead of '$2'"; }
}

loop
wait_for_step "$scratch/run" 50
kill -9 "$(pgrep -f -- "^$banyan train $scratch/c.ini" | tail -n 1)"
wait_for_step "$scratch/run" 110
kill -TERM $job
ended 75 "wait stop"
grep -q "lost=$(hostname) " "$scratch/run/ends.txt" || fail "the host of the killed rank is not named"
loop
ended 0 "wait stop done"
# shellcheck disable=SC2086
must 0 2 train "$scratch/c.ini" --run.dir="$scratch/whole" $options
same_losses "$scratch/run" "$scratch/whole"
