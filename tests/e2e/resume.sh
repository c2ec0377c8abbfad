#!/bin/sh
# resume.sh BANYAN: kill -9 of the whole job at an arbitrary step, signals to one rank, another mesh: what comes after a
# resume is what would have come without.
. "$(dirname "$0")/lib.sh"
dataset "$scratch/tokens.h5"
config "$scratch/c.ini" gpt2 "$scratch/unused"
mesh="--parallel.tensor=2 --parallel.data=2 --parallel.zero=1"
long="--train.steps=60 --checkpoint.every_steps=7"

# ranks_of RUN: process ids of the program in that run directory.
ranks_of() { pgrep -f -- "^$banyan train .*--run.dir=$1( |\$)" || true; }

# The others write their checkpoints in the background: neither losses nor what is saved may tell.
mask=$(umask)
umask 0
# shellcheck disable=SC2086
must 0 4 train "$scratch/c.ini" --run.dir="$scratch/whole" $mesh $long --checkpoint.async=off
umask "$mask"
open=$(find "$scratch/whole" -type d ! -perm 750 -o -type f ! -perm 640)
[ -z "$open" ] || fail "of another mode than 0750 and 0640: $open"

# Killed at some step, twice; the second time right after the first resume.  On a busy machine a job may be over before
# the signal comes: then all is done again.
for try in 1 2 3 4 5 6; do
  [ $try -lt 6 ] || fail "five jobs ended before they could be killed"
  rm -rf "$scratch/killed"
  for step in 17 31; do
    # shellcheck disable=SC2086
    "$repo/tests/mpirun.sh" 4 "$banyan" train "$scratch/c.ini" --run.dir="$scratch/killed" $mesh $long \
      > "$scratch/run.log" 2>&1 &
    wait_for_step "$scratch/killed" "$step"
    kill -9 $(ranks_of "$scratch/killed") 2> /dev/null || true
    wait $! || true
  done
  grep -q '"step": 60,' "$scratch/killed/metrics.jsonl" || break
done
# shellcheck disable=SC2086
must 0 4 train "$scratch/c.ini" --run.dir="$scratch/killed" $mesh $long
says "resuming after step"
says ", training waited "
same_losses "$scratch/killed" "$scratch/whole"
for run in killed whole; do
  "$banyan" inspect --digest "$scratch/$run"/ckpt/step-000000056.e* | grep '^digest ' > "$scratch/$run.digest" ||
    fail "inspect --digest"
done
cmp "$scratch/killed.digest" "$scratch/whole.digest" || fail "a checkpoint written in the background holds other values"

# In bf16 the parameters of a checkpoint are the exact ones, and what is computed with is rounded from them again.
half="$mesh --run.precision=bf16 --checkpoint.every_steps=7"
# shellcheck disable=SC2086
must 0 4 train "$scratch/c.ini" --run.dir="$scratch/bf16" $half --train.steps=20
# shellcheck disable=SC2086
must 0 4 train "$scratch/c.ini" --run.dir="$scratch/bf16.resumed" $half --train.steps=20 \
  --checkpoint.resume="$(ls -d "$scratch"/bf16/ckpt/step-000000007.*)"
says "resuming after step 7"
losses "$scratch/bf16" | tail -n 13 > "$scratch/bf16.whole"
losses "$scratch/bf16.resumed" | cmp - "$scratch/bf16.whole" || fail "bf16 went on with other losses"
# Each data rank has kept its rows of the exact matrices only; together they are what one rank has.
"$banyan" inspect --digest "$scratch/bf16" | grep '^digest ' > "$scratch/digest.a" || fail "inspect --digest"
must 0 1 train "$scratch/c.ini" --run.dir="$scratch/bf16.one" --run.precision=bf16 --train.steps=20 \
  --checkpoint.resume="$(ls -d "$scratch"/bf16/ckpt/step-000000020.*)"
"$banyan" inspect --digest "$scratch/bf16.one" | grep '^digest ' > "$scratch/digest.b" || fail "inspect --digest"
cmp "$scratch/digest.a" "$scratch/digest.b" || fail "the digests differ in bf16"

# A signal to one rank only: all ranks stop at one step, commit, 75; the rest is the same to the bit.
for signal in USR1 TERM; do
  for try in 1 2 3 4 5 6; do
    [ $try -lt 6 ] || fail "five jobs ended before SIG$signal came"
    rm -rf "$scratch/$signal"
    # shellcheck disable=SC2086
    "$repo/tests/mpirun.sh" 4 "$banyan" train "$scratch/c.ini" --run.dir="$scratch/$signal" $mesh --train.steps=60 \
      > "$scratch/run.log" 2>&1 &
    job=$!
    wait_for_step "$scratch/$signal" 5
    kill -"$signal" $(ranks_of "$scratch/$signal" | tail -n 1) 2> /dev/null || true
    code=0
    wait $job || code=$?
    # Over before the signal came, as above.
    [ $code = 0 ] && grep -q '"step": 60,' "$scratch/$signal/metrics.jsonl" || break
  done
  [ $code = 75 ] || { cat "$scratch/run.log" >&2; fail "exit code $code instead of 75 after SIG$signal"; }
  # shellcheck disable=SC2086
  must 0 4 train "$scratch/c.ini" --run.dir="$scratch/$signal" $mesh --train.steps=60
  says "resuming after step"
  same_losses "$scratch/$signal" "$scratch/whole"
done

# The halt file stops too, and is gone afterwards.
# shellcheck disable=SC2086
"$repo/tests/mpirun.sh" 4 "$banyan" train "$scratch/c.ini" --run.dir="$scratch/halt" $mesh --train.steps=5000 \
  > "$scratch/run.log" 2>&1 &
job=$!
wait_for_step "$scratch/halt" 3
touch "$scratch/halt/stop"
code=0
wait $job || code=$?
[ $code = 75 ] || { cat "$scratch/run.log" >&2; fail "exit code $code instead of 75 after the halt file"; }
[ ! -e "$scratch/halt/stop" ] || fail "the halt file is still there"

# Saved under (2,2,2), loaded under (1,4,2), saved: the same tensors.
steps="--optimizer.schedule=constant --train.steps"
must 0 8 train "$scratch/c.ini" --run.dir="$scratch/remesh" --parallel.tensor=2 --parallel.pipeline=2 $steps=6 \
  --parallel.zero=1
"$banyan" inspect --digest "$scratch/remesh" | grep '^digest ' > "$scratch/digest.a" || fail "inspect --digest"
saved=$(ls -d "$scratch"/remesh/ckpt/step-*)
must 0 8 train "$scratch/c.ini" --run.dir="$scratch/remeshed" --parallel.pipeline=4 $steps=6 --checkpoint.resume="$saved"
"$banyan" inspect --digest "$scratch/remeshed" | grep '^digest ' > "$scratch/digest.b" || fail "inspect --digest"
cmp "$scratch/digest.a" "$scratch/digest.b" || fail "the digests differ"

# Another mesh goes on from where the first one was, and another schedule from there.
must 0 8 train "$scratch/c.ini" --run.dir="$scratch/remesh" --parallel.pipeline=4 --parallel.schedule=zb-h1 $steps=14
must 0 4 train "$scratch/c.ini" --run.dir="$scratch/remesh" --parallel.pipeline=2 --parallel.schedule=interleaved $steps=20
says "resuming after step 14"
must 0 1 train "$scratch/c.ini" --run.dir="$scratch/one" $steps=20
close_losses "$scratch/remesh" "$scratch/one" 1e-4 20

# A job that comes back with fewer ranks takes the first mesh of parallel.fallback that they hold, and its own again with
# all of them; the loss goes on as if nothing had happened.
shrinking="--parallel.tensor=2 --parallel.pipeline=2 --parallel.fallback=4x1,2x1,1x1"
# shellcheck disable=SC2086
must 0 4 train "$scratch/c.ini" --run.dir="$scratch/shrunk" $shrinking $steps=6
# shellcheck disable=SC2086
must 0 3 train "$scratch/c.ini" --run.dir="$scratch/shrunk" $shrinking $steps=12
says "using the mesh 2x1 of parallel.fallback"
says "resuming after step 6"
says "1 of 3 ranks idle"
# shellcheck disable=SC2086
must 0 4 train "$scratch/c.ini" --run.dir="$scratch/shrunk" $shrinking $steps=20
close_losses "$scratch/shrunk" "$scratch/one" 1e-4 20
# Without one it is refused.
must 78 3 train "$scratch/c.ini" --run.dir="$scratch/shrunk" --parallel.tensor=2 --parallel.pipeline=2 $steps=21
says "parallel.tensor x parallel.pipeline = 2 x 2 = 4 ranks"
