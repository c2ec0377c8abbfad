#!/bin/sh
# mesh_equality.sh BANYAN KIND VARIANT: the first 20 losses of every mesh are those of one rank (relative 1e-4, in bf16
# 1e-3), and the same mesh gives the same bits twice.
. "$(dirname "$0")/lib.sh"
kind=$2
variant=$3
dataset "$scratch/tokens.h5"
config "$scratch/c.ini" "$kind" "$scratch/unused"

options=
meshes="2,1,1 1,2,1 1,1,2 2,2,2 4,1,2 1,4,2"
precision=fp32 tolerance=1e-4
sequence=   # what splits sequences over the tensor ranks, where there are several
case $variant in
  plain) ;;
  zero) options="--parallel.zero=1 --parallel.bucket=16KiB" ;;
  sequence) sequence="--parallel.sequence=true" ;;
  recompute) options="--train.recompute=block --parallel.schedule=gpipe" ;;
  all)
    options="--parallel.zero=1 --train.recompute=block --parallel.bucket=16KiB"
    sequence="--parallel.sequence=true --parallel.tensor_blocks=3"
    ;;
  # Of 8 microbatches 3 data ranks have 3, 3 and 2, which are no whole groups of as many as stages.
  interleaved | zb-h1 | zb-v) options="--parallel.schedule=$variant --train.eval_every=10" meshes="1,2,3 2,2,2" ;;
  bf16)
    # At the usual rate the loss jumps in the tenth step, and with it every rounding.
    options="--parallel.zero=1 --parallel.bucket=16KiB" precision="bf16 --optimizer.lr=1e-3" tolerance=1e-3
    sequence="--parallel.sequence=true"
    ;;
  *) fail "unknown variant $variant" ;;
esac

# shellcheck disable=SC2086
train() { # train NAME TENSOR PIPELINE DATA OPTION...
  name=$1 tensor=$2 pipeline=$3 data=$4
  shift 4
  [ "$tensor" = 1 ] || set -- "$@" $sequence
  must 0 $((tensor * pipeline * data)) train "$scratch/c.ini" --run.dir="$scratch/$name" --parallel.tensor="$tensor" \
    --parallel.pipeline="$pipeline" --parallel.data="$data" --run.precision=$precision "$@"
}

train one 1 1 1
for mesh in $meshes; do
  set -- $(echo "$mesh" | tr , ' ')
  # shellcheck disable=SC2086
  train "$mesh" "$1" "$2" "$3" $options
  printf '%s %s mesh %s: ' "$kind" "$variant" "$mesh"
  close_losses "$scratch/$mesh" "$scratch/one" "$tolerance" 20
done
# shellcheck disable=SC2086
train again 2 2 2 $options
same_losses "$scratch/again" "$scratch/2,2,2"

# What a split backward pass keeps for its second half has the type of the activations, too.
[ "$variant" = bf16 ] || exit 0
for schedule in zb-h1 zb-v; do
  train "$schedule" 2 2 1 --parallel.schedule="$schedule" --train.recompute=cheap
  close_losses "$scratch/$schedule" "$scratch/one" "$tolerance" 20
done

# Gradients that travel in bf16, staged with ZeRO-1 and without it; twice the same bits.
for zero in 0 1; do
  train "travel$zero" 1 1 4 --run.grad_dtype=bf16 --parallel.zero=$zero --parallel.bucket=16KiB
  close_losses "$scratch/travel$zero" "$scratch/one" "$tolerance" 20
done
train travel.again 1 1 4 --run.grad_dtype=bf16 --parallel.zero=1 --parallel.bucket=16KiB
same_losses "$scratch/travel.again" "$scratch/travel1"
