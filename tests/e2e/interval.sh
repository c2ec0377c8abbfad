#!/bin/sh
# interval.sh BANYAN: checkpoint.interval = auto saves by the run's own history, and the losses are those without.
. "$(dirname "$0")/lib.sh"
dataset "$scratch/tokens.h5"
config "$scratch/c.ini" gpt2 "$scratch/unused"
saves() { grep -c . "$scratch/$1/saves.jsonl"; }
steps="--parallel.tensor=2 --optimizer.schedule=constant --checkpoint.every_steps=0"

# A run that has hardly ever failed does not save in its first seconds but when it ends.
# shellcheck disable=SC2086
must 75 2 train "$scratch/c.ini" --run.dir="$scratch/calm" $steps --checkpoint.interval=auto --train.steps=1000000 \
  --train.max_time=4s
says "a checkpoint every "
[ "$(saves calm)" = 1 ] || fail "$(saves calm) saves instead of the last alone"

# One that waits a millisecond for its saves and whose hundred thousand starts all failed saves every second.
mkdir -p "$scratch/shaky"
awk 'BEGIN { for (i = 1; i <= 100000; ++i) printf "{\"attempt\": %d, \"started\": \"2026-01-01T00:00:00Z\"}\n", i }' \
  > "$scratch/shaky/attempts.jsonl"
for _ in $(seq 100); do
  echo '{"attempt": 1, "step": 1, "bytes": 1, "seconds": 0.001, "waited": 0.001}'
done > "$scratch/shaky/saves.jsonl"
mkdir -p "$scratch/shaky/causes"
echo '{"attempt": 100000, "rank": 0, "code": 69}' > "$scratch/shaky/causes/100000.0.json"
# shellcheck disable=SC2086
must 75 2 train "$scratch/c.ini" --run.dir="$scratch/shaky" $steps --checkpoint.interval=auto --train.steps=1000000 \
  --train.max_time=8s
[ "$(saves shaky)" -ge 102 ] || fail "$(($(saves shaky) - 100)) saves in eight seconds"

# It does not where no more than a thousandth of the time may go into them.
cp -r "$scratch/shaky" "$scratch/bounded"
rm -r "$scratch/bounded/ckpt" "$scratch/bounded/lease" "$scratch/bounded/metrics.jsonl"
for _ in $(seq 100); do
  echo '{"attempt": 1, "step": 1, "bytes": 1, "seconds": 0.1, "waited": 0.1}'
done > "$scratch/bounded/saves.jsonl"
# shellcheck disable=SC2086
must 75 2 train "$scratch/c.ini" --run.dir="$scratch/bounded" $steps --checkpoint.interval=auto --checkpoint.overhead=0.001 \
  --train.steps=1000000 --train.max_time=4s
says "a checkpoint every 1 min 40 s"
[ "$(saves bounded)" = 101 ] || fail "$(($(saves bounded) - 100)) saves instead of the last alone"

# When it saved does not matter to what it learns.
last=$(tail -n 1 "$scratch/shaky/metrics.jsonl" | sed 's/.*"step": \([0-9]*\),.*/\1/')
other=$(tail -n 1 "$scratch/calm/metrics.jsonl" | sed 's/.*"step": \([0-9]*\),.*/\1/')
[ "$other" -lt "$last" ] && last=$other
for run in shaky calm; do losses "$scratch/$run" | head -n "$last" > "$scratch/$run.losses"; done
cmp "$scratch/shaky.losses" "$scratch/calm.losses" || fail "the losses differ"
