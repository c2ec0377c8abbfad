#!/bin/sh
# bad_steps.sh BANYAN: spikes of the loss are skipped, rolled back or end the job, and a job that was stopped between goes
# on to the bit as one that was not.
. "$(dirname "$0")/lib.sh"
dataset "$scratch/tokens.h5"
config "$scratch/c.ini" gpt2 "$scratch/unused"
# When the window of the last 100 losses has left the first ones behind, what is left is the noise of the batches: there
# are steps half a deviation, and some one deviation, above the others whatever the last bits are.  Jobs are stopped
# where there is a checkpoint anyway, so that they go back to the same steps.
noisy="--parallel.tensor=2 --optimizer.schedule=constant --optimizer.lr=0.1 --checkpoint.every_steps=10 --train.bad_steps=100"
skipped() { grep -c '"skipped": 1' "$scratch/$1/metrics.jsonl"; }

# shellcheck disable=SC2086
must 76 2 train "$scratch/c.ini" --run.dir="$scratch/stopped" $noisy --train.spike=0.5 --train.steps=150
says "deviations above those before it (train.spike = 0.5)"
says "set train.on_bad_step"

skip="$noisy --train.spike=0.5 --train.on_bad_step=skip"
# shellcheck disable=SC2086
must 0 2 train "$scratch/c.ini" --run.dir="$scratch/skip" $skip --train.steps=150
says "its update is skipped"
[ "$(skipped skip)" -gt 0 ] || fail "no step says that it was skipped"
# shellcheck disable=SC2086
must 0 2 train "$scratch/c.ini" --run.dir="$scratch/halves" $skip --train.steps=130
# shellcheck disable=SC2086
must 0 2 train "$scratch/c.ini" --run.dir="$scratch/halves" $skip --train.steps=150
same_losses "$scratch/halves" "$scratch/skip"
[ "$(skipped halves)" = "$(skipped skip)" ] || fail "other steps were skipped after a resume"
"$banyan" inspect --json "$scratch/skip" > "$scratch/out.log" || fail "inspect"
says "dropped_batches"

back="$noisy --train.spike=1 --train.on_bad_step=rollback"
# Three ranks: the spare goes back as well.
# shellcheck disable=SC2086
must 0 3 train "$scratch/c.ini" --run.dir="$scratch/back" $back --checkpoint.resume=never --train.steps=150
says "going back to the last checkpoint"
says "are left out"
# shellcheck disable=SC2086
must 0 2 train "$scratch/c.ini" --run.dir="$scratch/back2" $back --train.steps=130
# shellcheck disable=SC2086
must 0 2 train "$scratch/c.ini" --run.dir="$scratch/back2" $back --train.steps=150
same_losses "$scratch/back2" "$scratch/back"
