#!/bin/sh
# restart.sh BANYAN [--ranks N] [--starts N] [--json FILE] [--section.key=value ...]: how long a job of GPT-2 124M takes
# from its launch to its first step when it goes on from a checkpoint that is in the system's cache, beside N processes
# that read the same bytes plainly.  Sequences are short, so that the step itself is.  Everything alternately, N times;
# medians count.  The default mesh is data = N with the optimizer's state spread (parallel.zero = 1).
set -eu
banyan=$1
shift
# shellcheck source=perf/lib.sh
. "$(dirname "$0")/lib.sh"
ranks=8 starts=3 json=
while [ $# -gt 0 ]; do
  case $1 in
    --ranks) ranks=$2 ;;
    --starts) starts=$2 ;;
    --json) json=$2 ;;
    *) break ;;
  esac
  shift 2
done

seconds() { date +%s.%N; }
# train STEPS: goes on to that many steps.
train() {
  steps=$1
  shift
  "$here/../tests/mpirun.sh" "$ranks" "$banyan" train "$scratch/config.ini" --run.dir="$scratch/run" --run.threads=1 \
    --data.train="$scratch/tokens.h5" --model.vocab=50257 --model.context=64 --train.batch="$ranks" --parallel.zero=1 \
    --optimizer.schedule=constant --checkpoint.every_steps=0 --checkpoint.keep=2 --checkpoint.view=false \
    --train.steps="$steps" "$@" > "$scratch/log" 2>&1 || { cat "$scratch/log" >&2; exit 1; }
}
# plain: N processes each read as much as a rank does: all parameters, its part of both moments.
plain() {
  begin=$(seconds)
  i=0
  while [ "$i" -lt "$ranks" ]; do
    for file in "$scratch"/run/ckpt/step-*"$1".*/shard-*; do
      dd if="$file" of=/dev/null bs=4M iflag=count_bytes count="$(($(stat -c %s "$file") * (ranks + 2) / (3 * ranks)))" 2> /dev/null
    done &
    i=$((i + 1))
  done
  wait
  echo "$begin $(seconds)" | awk '{ print $2 - $1 }'
}
column() { awk -v c="$1" '{ print $c }' "$scratch/rows" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

train 1 "$@"
n=1
while [ "$n" -le "$starts" ]; do
  cat "$scratch"/run/ckpt/step-*/shard-* > /dev/null
  read_s=$(plain "$n")

  train "$((n + 1))" "$@"
  # ... after A s: B s to set up, C s for the parameters, D s itself
  sed -n 's/.*the first step was done after \([0-9.]*\) s: \([0-9.]*\) s to set up, \([0-9.]*\) s for the parameters, \([0-9.]*\) s itself.*/\2 \3 \4/p' \
    "$scratch/log" | awk -v read="$read_s" '{ print $1 + $2, $1, $2, $3, read }' >> "$scratch/rows"
  echo "start $n: $(tail -n 1 "$scratch/rows") load $(cut -d' ' -f1 /proc/loadavg)" >&2
  n=$((n + 1))
done
bytes=$(cat "$scratch"/run/ckpt/step-*"$starts".*/shard-* | wc -c)
all=$(awk -v b="$bytes" -v n="$ranks" 'BEGIN { printf "%.0f", b * (n + 2) / 3 }')
before=$(column 1) setup=$(column 2) load=$(column 3) step=$(column 4) read_s=$(column 5)
awk -v n="$ranks" -v starts="$starts" -v b="$before" -v s="$setup" -v l="$load" -v t="$step" -v r="$read_s" -v all="$all" 'BEGIN {
  printf "%d ranks, GPT-2 124M, %.2f GB read by all of them (median of %d)\n", n, all / 1e9, starts
  printf "  until the first step begins %8.2f s\n", b
  printf "    setting up                %8.2f s\n", s
  printf "    parameters and moments    %8.2f s  %6.2f GB/s  %3.0f %% of plain\n", l, all / l / 1e9, 100 * r / l
  printf "  the same bytes read plainly %8.2f s  %6.2f GB/s\n", r, all / r / 1e9
  printf "  the step itself             %8.2f s\n", t
}'
[ -z "$json" ] || printf '{"ranks": %s, "bytes": %s, "before_step_s": %s, "setup_s": %s, "load_s": %s, "plain_read_s": %s, "step_s": %s}\n' \
  "$ranks" "$all" "$before" "$setup" "$load" "$read_s" "$step" > "$json"
