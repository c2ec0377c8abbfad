#!/bin/sh
# memory.sh BANYAN: what GPT-2 124M uses is what the plan says, within a tenth.
. "$(dirname "$0")/lib.sh"
dataset "$scratch/tokens.h5"
# Killed after two steps: the plan is about memory, and a checkpoint of 1.5 GB is not needed for it.
"$banyan" train "$repo/configs/gpt2-124m.ini" --run.dir="$scratch/run" --data.train="$scratch/tokens.h5" --run.threads=1 \
  --model.context=64 --parallel.microbatch=2 --train.batch=4 --checkpoint.every_steps=0 > "$scratch/out.log" 2>&1 &
job=$!
for _ in $(seq 1200); do
  grep -qs '"step": 2,' "$scratch/run/metrics.jsonl" && break
  kill -0 $job 2> /dev/null || break
  sleep 0.1
done
kill -9 $job 2> /dev/null || true
wait $job || true
numbers=$(sed -n 's/.*"step": 2,.*"memory": \([0-9]*\), "memory_planned": \([0-9]*\).*/\1 \2/p' "$scratch/run/metrics.jsonl")
[ -n "$numbers" ] || { cat "$scratch/out.log" >&2; fail "no second step"; }
echo "$numbers" | awk '{
  printf "used %d MB, planned %d MB, off by %.1f %%\n", $1 / 1e6, $2 / 1e6, 100 * ($1 - $2) / $2
  exit !($1 > 1.5e9 && $1 < 1.1 * $2 && $1 > 0.9 * $2) }' || fail "the plan is off: $numbers"
