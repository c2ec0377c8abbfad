#!/bin/bash
# grad_dtype.sh BANYAN [--rounds N] [--steps N] [--option --section.key=value]...: what run.grad_dtype = bf16 is worth where
# the network between data ranks is slow. Trains a model of four blocks of width 768 in bf16, 2 x 256 tokens on each of two
# data ranks on two hosts of tests/cluster/box.sh (1000 Mbit/s links), without and with ZeRO-1, by turns. Prints seconds a
# step (the median after the first three), medians of the rounds, and how many times faster than in fp32. Needs root.
rounds=3 steps=8
takes=(rounds steps)
. "$(dirname "$0")/box_lib.sh"
BANYAN_LAUNCH_ARGS="--host n1,n2 --map-by node"
export BANYAN_LAUNCH_ARGS
for round in $(seq "$rounds"); do
  for zero in 0 1; do
    for dtype in fp32 bf16; do
      s=$(seconds_a_step "$zero.$dtype.$round" 2 --parallel.data=2 --parallel.zero=$zero --run.precision=bf16 \
        --run.grad_dtype=$dtype --run.threads=1 --model.layers=4 --model.width=768 --model.heads=12 --model.context=256 \
        --train.batch=4 --parallel.microbatch=2)
      echo "$zero $dtype $s" >> "$scratch/measured"
      echo "round $round  zero $zero  $dtype  $s"
    done
  done
done
ratios zero gradients fp32
