#!/bin/bash
# box_placement.sh BANYAN [--placements N] [--steps N] [--option --section.key=value]...: what the placement of ranks is
# worth. Trains a communication-heavy model (tensor 2 x data 2, fp32, long messages) with one rank on each of the four
# hosts of tests/cluster/box.sh (two leaves, 1000 Mbit/s links, 400 Mbit/s up-links), started so that ranks alternate
# between the leaves: with topology.placement = auto, identity, and N seeded random placements (default 20), one after the
# other, each with its own best plans. Prints seconds a step (median after the first three) and the ratios. Needs root.
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/tests/cluster/box.sh"
program=$(realpath "$1")
shift
placements=20 steps=10
options=()
while [ $# -gt 0 ]; do
  case $1 in
    --placements) placements=$2 ;;
    --steps) steps=$2 ;;
    --option) options+=("$2") ;;
    *) sed -n 2,7p "$0" >&2; exit 64 ;;
  esac
  shift 2
done
box_up
TMPDIR=$BOX
set -- "$program"
. "$top/tests/e2e/lib.sh"
repo=$top
box_guard
dataset "$scratch/tokens.h5"
config "$scratch/config.ini" gpt2 "$scratch/run"
BANYAN_LAUNCH_ARGS="--host n1,n3,n2,n4 --map-by node"
export BANYAN_LAUNCH_ARGS
# seconds NAME PLACEMENT: of a step.
seconds() {
  local code=0
  box_on n1 "$repo/scripts/launch.sh" -n 4 --mpirun -- "$banyan" train "$scratch/config.ini" --run.dir="$scratch/$1" \
    --parallel.tensor=2 --parallel.data=2 --model.layers=2 --model.width=256 --model.heads=8 --model.context=128 \
    --train.batch=16 --parallel.microbatch=8 --train.steps="$steps" --topology.placement="$2" "${options[@]}" \
    >"$scratch/out.log" 2>&1 || code=$?
  [ $code = 0 ] || { cat "$scratch/out.log" >&2; fail "exit code $code with placement $2"; }
  sed -n 's/.*"step": \([0-9]*\),.*"tokens": \([0-9]*\),.*"tokens_per_s": \([0-9.e+-]*\),.*/\1 \2 \3/p' \
    "$scratch/$1/metrics.jsonl" | awk '$1 > 3 { print $2 / $1 / $3 }' | sort -g |
    awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}
auto=$(seconds auto auto)
identity=$(seconds identity identity)
sed -n 's/^placement: /auto is /p' "$scratch/auto/plan.txt"
echo "auto      $auto s a step"
echo "identity  $identity s a step (ranks alternate between the leaves)"
# Seeded, so that the placements are the same whenever this runs.
awk -v n="$placements" 'BEGIN {
  srand(20)
  for (i = 1; i <= n; ++i) {
    for (r = 0; r < 4; ++r) a[r] = r
    for (r = 3; r > 0; --r) { j = int(rand() * (r + 1)); t = a[r]; a[r] = a[j]; a[j] = t }
    print a[0], a[1], a[2], a[3]
  }
}' > "$scratch/orders"
best='' worst=''
i=0
while read -r order; do
  i=$((i + 1))
  echo "$order" > "$scratch/order.$i"
  s=$(seconds "random$i" "pinned:$scratch/order.$i")
  echo "$order   $s"
  best=$(printf '%s\n' $best "$s" | sort -g | head -n 1)
  worst=$(printf '%s\n' $worst "$s" | sort -g | tail -n 1)
done < "$scratch/orders"
again=$(seconds auto2 auto)
awk -v a="$auto" -v b="$again" -v i="$identity" -v best="${best:-$auto}" -v worst="${worst:-$identity}" 'BEGIN {
  m = (a + b) / 2
  printf "auto again %s s; auto is %.2f x faster than identity, %.2f x than the worst, %.2f of the best\n", b, i / m, worst / m, m / best
}'
