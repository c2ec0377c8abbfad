#!/bin/sh
# refusals.sh BANYAN [BANYAN_CUDA]: who asks for a GPU and cannot have one is told what to do, with exit code 78: by the
# program without CUDA, and by the one with it, where that was built, when there is no driver.
. "$(dirname "$0")/../e2e/lib.sh"
gpu=${2:-}
dataset "$scratch/tokens.h5"
config "$scratch/c.ini" gpt2 "$scratch/run"
must 78 2 train "$scratch/c.ini" --run.backend=cuda --parallel.data=2
says "this program computes on CPUs only: start banyan-cuda"
[ "$(grep -c banyan-cuda "$scratch/out.log")" = 1 ] || { cat "$scratch/out.log"; fail "it is said more than once"; }
must 78 1 train "$scratch/c.ini" --run.backend=gpu
says "cuda"

[ "$gpu" ] || exit 0
banyan=$gpu
on 2 train "$scratch/c.ini" --run.backend=cuda --parallel.data=2 --optimizer.warmup=1 --train.steps=1
if [ "$code" = 0 ]; then
  echo "there is a GPU here"
else
  [ "$code" = 78 ] || { cat "$scratch/out.log" >&2; fail "exit code $code"; }
  says "run.backend = cpu"
  [ "$(grep -c "run.backend = cpu" "$scratch/out.log")" = 1 ] || { cat "$scratch/out.log"; fail "it is said more than once"; }
fi
