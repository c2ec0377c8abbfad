#!/bin/bash
# box_placement.sh BANYAN [--placements N] [--rounds N] [--steps N] [--option --section.key=value]...: what the placement
# of ranks is worth. Trains a communication-heavy model (tensor 2 x data 2, fp32, long messages) with one rank on each of
# the four hosts of tests/cluster/box.sh (two leaves, 1000 Mbit/s links, 400 Mbit/s up-links), started so that ranks
# alternate between the leaves: with topology.placement = auto, identity, and N seeded random placements (default 20), by
# turns, each with its own best plans, in so many rounds (default 3). Prints seconds a step (the median after the first
# three), medians of the rounds and their ratios. At a load of 25 a job of six steps took 14 s, 22 in 3 rounds a quarter of
# an hour. Needs root.
placements=20 rounds=3 steps=10
takes=(placements rounds steps)
. "$(dirname "$0")/box_lib.sh"
BANYAN_LAUNCH_ARGS="--host n1,n3,n2,n4 --map-by node"
export BANYAN_LAUNCH_ARGS
# seconds NAME PLACEMENT: of a step.
seconds() {
  seconds_a_step "$1" 4 --parallel.tensor=2 --parallel.data=2 --model.layers=2 --model.width=256 --model.heads=8 \
    --model.context=128 --train.batch=16 --parallel.microbatch=8 --topology.placement="$2"
}
# Seeded, so that the placements are the same whenever this runs.
awk -v n="$placements" 'BEGIN {
  srand(20)
  for (i = 1; i <= n; ++i) {
    for (r = 0; r < 4; ++r) a[r] = r
    for (r = 3; r > 0; --r) { j = int(rand() * (r + 1)); t = a[r]; a[r] = a[j]; a[j] = t }
    print a[0], a[1], a[2], a[3]
  }
}' > "$scratch/orders"
i=0
while read -r order; do
  i=$((i + 1))
  echo "$order" > "$scratch/order.$i"
done < "$scratch/orders"
# note NAME SECONDS: a line of all that was measured.
note() {
  echo "$1 $2" >> "$scratch/measured"
  echo "round $round  $1  $2"
}
for round in $(seq "$rounds"); do
  s=$(seconds "auto.$round" auto)
  sed -n 's/^placement: /auto is /p' "$scratch/auto.$round/plan.txt"
  note auto "$s"
  note identity "$(seconds "identity.$round" identity)"
  for i in $(seq "$placements"); do
    note "$(tr ' ' , < "$scratch/order.$i")" "$(seconds "random$i.$round" "pinned:$scratch/order.$i")"
  done
done
# A placement that was drawn twice counts as one.
sort -k1,1 -k2,2g "$scratch/measured" | awk '
  function close_group() {
    if (name == "") return
    median = n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
    printf "%-10s %.3f s a step (%d times, %.3f to %.3f)\n", name, median, n, v[1], v[n]
    if (name == "auto") { auto = median; return }
    if (name == "identity") identity = median
    if (best == "" || median < best) best = median
    if (median > worst) worst = median
  }
  $1 != name { close_group(); name = $1; n = 0 }
  { v[++n] = $2 }
  END {
    close_group()
    printf "medians: auto is %.2f x faster than identity, %.2f x than the worst, and takes %.2f of the best\n", identity / auto, worst / auto, auto / best
  }'
