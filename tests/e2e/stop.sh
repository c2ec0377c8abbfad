#!/bin/sh
# stop.sh BANYAN: `banyan stop` now, at a step, changed while the job runs and taken back; a second signal, which an
# evaluation does not outlast; and a job that leaves by itself before the batch system ends it.
. "$(dirname "$0")/lib.sh"
dataset "$scratch/tokens.h5"
config "$scratch/c.ini" gpt2 "$scratch/run"
run=$scratch/run
steps_done() { losses "$run" | tail -n 1 | cut -d ' ' -f 1; }
# stopped REASON: the records of the newest attempt name it.
stopped() {
  for record in $(ls "$run"/causes/*.[0-9]*.json | sort -V | tail -n 2); do
    grep -q "\"code\":75,.*\"reason\":\"$1\"" "$record" || { cat "$record" >&2; fail "the record does not say $1"; }
  done
}
stop() { # stop CODE TEXT ARG...
  code=$1 text=$2
  shift 2
  alone "$code" stop "$@"
  says "$text"
}

# ---- refused
stop 64 "no run directory" "$scratch"
stop 64 "no run directory" "$scratch/c.ini"
stop 64 "no run directory" "$scratch/nowhere"
must 0 2 train "$scratch/c.ini" --train.steps=4
stop 64 "exclude each other" "$run" --now --at-step 7
stop 64 "exclude each other" "$run" --cancel --at-step=7
stop 64 "--at-step=0" "$run" --at-step 0
stop 64 "--at-step=soon" "$run" --at-step soon
[ ! -e "$run/stop" ] || fail "a refused stop has left a file"

# ---- at a step, exactly; the request is gone afterwards, so that the same command goes on
stop 0 "no job runs there" "$run" --at-step 9
must 75 2 train "$scratch/c.ini"
[ "$(steps_done)" = 9 ] || fail "stopped after step $(steps_done) instead of 9"
stopped halt-file
[ ! -e "$run/stop" ] || fail "the request is still there"
stop 0 "after the step it is doing" "$run"
stop 0 "taken back" "$run" --cancel
stop 0 "nobody had asked" "$run" --cancel
stop 0 "once 9 steps are done" "$run" --at-step 9
must 75 2 train "$scratch/c.ini"
[ "$(steps_done)" = 10 ] || fail "a step that is past did not stop the job at once"
must 0 2 train "$scratch/c.ini"
must 0 2 train "$scratch/c.ini" --run.dir="$scratch/whole"
same_losses "$run" "$scratch/whole"

# ---- while it runs: a far step, then now
"$repo/tests/mpirun.sh" 2 "$banyan" train "$scratch/c.ini" --train.steps=1000000 > "$scratch/run.log" 2>&1 &
job=$!
for _ in $(seq 600); do
  [ "$(steps_done)" -gt 25 ] && break
  sleep 0.05
done
stop 0 "the job of process" "$run" --at-step 1M
stop 0 "the job of process" "$run" --now
code=0
wait $job || code=$?
[ $code = 75 ] || { cat "$scratch/run.log" >&2; fail "exit code $code instead of 75"; }
stopped halt-file
[ ! -e "$run/stop" ] || fail "the request is still there"

# ---- two signals to one rank: all leave the evaluation that they are in; eval itself does so at the first
rm -r "$run"
# begin COMMAND ARG...: on 2 ranks, in the background
begin() {
  command=$1
  shift
  : > "$scratch/run.log"  # what the job before has said is not said again
  "$repo/tests/mpirun.sh" 2 "$banyan" "$command" "$scratch/c.ini" --data.validation_fraction=0.5 "$@" > "$scratch/run.log" 2>&1 &
  job=$!
}
# until_said TEXT: waits for the running job to say so
until_said() {
  for _ in $(seq 1200); do
    grep -q "$1" "$scratch/run.log" && return
    kill -0 $job 2>/dev/null || break
    sleep 0.05
  done
  cat "$scratch/run.log" >&2
  fail "the job does not say: $1"
}
# ended COMMAND SIGNAL...: it leaves with 75 when one rank gets the signals
ended() {
  rank=$(pgrep -f "^$banyan $1 $scratch/c.ini" | tail -n 1)
  shift
  for signal in "$@"; do kill -s "$signal" "$rank"; done
  code=0
  wait $job || code=$?
  [ $code = 75 ] || { cat "$scratch/run.log" >&2; fail "exit code $code instead of 75"; }
}
begin train --train.steps=1000000 --train.eval_every=1 --train.eval_batches=1M
until_said 'the first step was done'
ended train USR1 TERM
grep -q "the evaluation after step $(steps_done) is left out" "$scratch/run.log" || fail "no evaluation was left out"
tail -n 1 "$run/metrics.jsonl" | grep -q validation_loss && fail "the last step was evaluated"
text "$scratch/long.txt" 400000 3
begin eval --text="$scratch/long.txt"
until_said 'evaluating step'
ended eval USR1
grep -q '^loss' "$scratch/run.log" && fail "half an evaluation has a result"

# ---- a time limit: long before it while no save is known, shortly before it afterwards; Slurm's own word counts too
rm -r "$run"
must 75 2 train "$scratch/c.ini" --train.steps=1000000 --run.time_left=23s
says "soon end the job"
stopped time-limit
grep -q '"seconds"' "$run/saves.jsonl" || fail "no save in saves.jsonl"
must 75 2 train "$scratch/c.ini" --train.steps=1000000 --run.time_left=18s
first=$(steps_done)
stopped time-limit
SLURM_JOB_END_TIME=$(($(date +%s) + 18))
export SLURM_JOB_END_TIME
must 75 2 train "$scratch/c.ini" --train.steps=1000000
stopped time-limit
[ "$(steps_done)" -gt "$first" ] || fail "no step before the limit"
SLURM_JOB_END_TIME=tomorrow must 78 2 train "$scratch/c.ini" --train.steps=1000000
says "SLURM_JOB_END_TIME"
