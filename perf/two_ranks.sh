#!/bin/sh
# two_ranks.sh BENCH [--rounds N] [--steps N] [--precision fp32|bf16] [--section.key=value ...]: what dividing a step among
# two ranks of one thread costs, beside one rank with two threads: GPT-2 124M, 8 x 256 tokens a step, with tensor
# parallelism, data parallelism, and a pipeline of 8 microbatches, by turns, in so many rounds (default 3).  Prints
# medians and how much of the one rank's speed is reached; for the pipeline also of what its bubble leaves.  Nothing
# else should run meanwhile: four cases and their two references take a quarter of an hour.
set -eu
bench=$(realpath "${1:?two_ranks.sh BENCH ...}")
here=$(cd "$(dirname "$0")" && pwd)
shift
rounds=3 steps=3 precision=fp32
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --steps) steps=$2; shift 2 ;;
    --precision) precision=$2; shift 2 ;;
    --*.*=*) break ;;
    *) sed -n 2,6p "$0" >&2; exit 64 ;;
  esac
done
scratch=$(mktemp -d "${TMPDIR:-/tmp}/banyan-perf.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

# step NAME RANKS OPTION...: one run; its median step goes to $scratch/NAME.
step() {
  name=$1 ranks=$2
  shift 2
  OMP_NUM_THREADS=$((2 / ranks)) "$here/../tests/mpirun.sh" "$ranks" "$bench" step --train.batch=8 --steps="$steps" \
    --run.precision="$precision" --run.threads=$((2 / ranks)) "$@" > "$scratch/log" 2>&1 ||
    { cat "$scratch/log" >&2; exit 1; }
  sed -n 's/^ *step  *median *\([0-9.]*\) ms.*/\1/p' "$scratch/log" >> "$scratch/$name"
}
middle() { sort -g "$scratch/$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

round=0
while [ $round -lt "$rounds" ]; do
  round=$((round + 1))
  step one 1 --parallel.microbatch=4 "$@"
  step tensor 2 --parallel.microbatch=4 --parallel.tensor=2 "$@"
  step data 2 --parallel.microbatch=4 --parallel.data=2 "$@"
  step one8 1 --parallel.microbatch=1 "$@"
  step pipeline 2 --parallel.microbatch=1 --parallel.pipeline=2 "$@"
done
echo "GPT-2 124M, 8 x 256, $precision, medians of $rounds rounds of $steps steps, load $(cut -d' ' -f1 /proc/loadavg)"
row() {  # row NAME REFERENCE SHARE-OF-THE-TIME-THAT-IS-LEFT
  awk -v name="$1" -v is="$(middle "$1")" -v one="$(middle "$2")" -v left="$3" -v all="$(tr '\n' ' ' < "$scratch/$1")" 'BEGIN {
    printf "%-9s %8.0f ms, one rank with two threads %8.0f ms: %.3f of its speed", name, is, one, one / is
    if (left < 1) printf ", %.3f of what the bubble of %.1f %% leaves", one / is / left, 100 * (1 - left)
    printf "   (%s)\n", all
  }'
}
row tensor one 1
row data one 1
row pipeline one8 "$(awk 'BEGIN { print 8 / 9 }')"
