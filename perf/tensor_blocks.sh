#!/bin/bash
# tensor_blocks.sh BANYAN [--rounds N] [--steps N] [--option --section.key=value]...: what parallel.tensor_blocks is worth
# where the network between tensor ranks is slow. Trains a model of two blocks of width 768 (1024 rows a microbatch) with
# tensor 2 on two hosts of tests/cluster/box.sh (1000 Mbit/s links), with 1, 2, 4 and 8 blocks of rows, without and with
# sequence parallelism, by turns. Prints seconds a step (the median after the first three), medians of the rounds, and how
# many times faster than in one block. Needs root.
rounds=3 steps=8
takes=(rounds steps)
. "$(dirname "$0")/box_lib.sh"
BANYAN_LAUNCH_ARGS="--host n1,n2 --map-by node"
export BANYAN_LAUNCH_ARGS
# seconds NAME BLOCKS SEQUENCE: of a step.
seconds() {
  seconds_a_step "$1" 2 --parallel.tensor=2 --parallel.tensor_blocks="$2" --parallel.sequence="$3" --run.threads=1 \
    --model.layers=2 --model.width=768 --model.heads=12 --model.context=512 --train.batch=4 --parallel.microbatch=2
}
for round in $(seq "$rounds"); do
  for sequence in false true; do
    for blocks in 1 2 4 8; do
      s=$(seconds "$sequence.$blocks.$round" $blocks $sequence)
      echo "$sequence $blocks $s" >> "$scratch/measured"
      echo "round $round  sequence $sequence  $blocks blocks  $s"
    done
  done
done
ratios sequence blocks 1
