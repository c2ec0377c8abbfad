#!/bin/sh
# bad_checkpoint.sh BANYAN: damaged, foreign and contested checkpoints and files that may not grow, as the whole program
# meets them: clear message, right exit code, nothing lost, never a silent fresh start.
. "$(dirname "$0")/../e2e/lib.sh"
. "$(dirname "$0")/counted.sh"
dataset "$scratch/tokens.h5"
config "$scratch/c.ini" gpt2 "$scratch/run"
# run CODE ARG...: two ranks, a save every second step.
run() {
  want=$1
  shift
  must "$want" 2 train "$scratch/c.ini" --parallel.tensor=2 --checkpoint.every_steps=2 "$@"
}
# flip CHECKPOINT: one bit of the first value of its first shard.
flip() {
  at=$(sed -n 's/.*"shards": \[\[0, \([0-9]*\),.*/\1/p' "$1/MANIFEST.json" | head -n 1)
  byte=$(dd if="$1/shard-00000.h5" bs=1 skip="$at" count=1 2> /dev/null | od -An -tu1)
  # shellcheck disable=SC2059
  printf "\\$(printf %o $((byte ^ 1)))" | dd of="$1/shard-00000.h5" bs=1 seek="$at" conv=notrunc 2> /dev/null
}
newest() { ls -d "$scratch"/run/ckpt/step-*.e? | tail -n 1; }

run 0 --train.steps=6
cp -r "$scratch/run" "$scratch/good"

# The newest is damaged: told, marked, and the one before it used; the losses that follow are those of a whole run.
injected
flip "$(newest)"
"$banyan" inspect "$scratch/run" --verify > "$scratch/out.log" 2>&1 && fail "inspect --verify saw nothing"
says damaged
run 0 --train.steps=8
says "CHECKPOINT NOT USED"
says "resuming after step 4"
[ -e "$scratch/run/ckpt/step-000000006.e1.BAD" ] || fail "no BAD mark"
must 0 2 train "$scratch/c.ini" --parallel.tensor=2 --run.dir="$scratch/whole" --train.steps=8
same_losses "$scratch/run" "$scratch/whole"

# Nothing but damage: 78, again and again, and what is there stays.
rm -rf "$scratch/run" && cp -r "$scratch/good" "$scratch/run"
injected
for c in "$scratch"/run/ckpt/step-*; do : > "$c/MANIFEST.json"; done
run 78 --train.steps=8
says "fresh start would throw"
run 78 --train.steps=8
[ "$(ls -d "$scratch"/run/ckpt/step-*.e1 | wc -l)" = 3 ] || fail "checkpoints were removed"

# A foreign file, a directory without a checkpoint, a checkpoint of another model, changed keys.
rm -rf "$scratch/run"
injected
must 78 1 train "$scratch/c.ini" --checkpoint.resume="$scratch/nowhere"
injected
must 78 1 train "$scratch/c.ini" --checkpoint.resume="$scratch/tokens.h5"
[ -z "$(ls -A "$scratch/run/ckpt" 2> /dev/null)" ] || fail "something was written"
injected
must 78 1 train "$scratch/c.ini" --checkpoint.resume="$scratch/good" --model.width=128
says model.width
rm -rf "$scratch/run" && cp -r "$scratch/good" "$scratch/run"
injected
must 78 1 train "$scratch/c.ini" --run.seed=8
says run.seed
must 78 1 train "$scratch/c.ini" --checkpoint.resume=never
says never

# Held by a live job.
injected
must 0 1 train "$scratch/c.ini" --train.steps=6
"$repo/tests/mpirun.sh" 1 "$banyan" train "$scratch/c.ini" --train.steps=100000 > "$scratch/holder.log" 2>&1 &
holder=$!
for _ in $(seq 400); do
  grep -q '"step": 7,' "$scratch/run/metrics.jsonl" && break
  sleep 0.05
done
must 73 1 train "$scratch/c.ini" --train.steps=8
says "is held by process"
touch "$scratch/run/stop"
code=0
wait $holder || code=$?
[ $code = 75 ] || { cat "$scratch/holder.log" >&2; fail "the holder ended with $code"; }

# Taken over while it slept, or while its storage was away: it notices without a save of its own, and says so.
rm -rf "$scratch/run"
"$repo/tests/mpirun.sh" 2 "$banyan" train "$scratch/c.ini" --parallel.tensor=2 --train.steps=1000000 > "$scratch/out.log" 2>&1 &
holder=$!
for _ in $(seq 600); do
  grep -q '"step": 7,' "$scratch/run/metrics.jsonl" 2> /dev/null && break
  sleep 0.05
done
injected
mkdir "$scratch/run/lease/e2"
code=0
wait $holder || code=$?
[ $code = 73 ] || { cat "$scratch/out.log" >&2; fail "a job that was taken over ended with $code"; }
says "was taken over by"
[ -z "$(ls -A "$scratch/run/ckpt" 2> /dev/null)" ] || fail "a job that was taken over has saved"

# Files may not grow: saves fail, the job tries again, gives up with 74, and the old commit is intact.
rm -rf "$scratch/run" && cp -r "$scratch/good" "$scratch/run"
injected
# Only the rank is limited: mpirun needs files of its own.
cat > "$scratch/limited" <<END
#!/bin/sh
ulimit -f 200
exec "$banyan" "\$@"
END
chmod +x "$scratch/limited"
code=0
OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 timeout 100 mpirun --oversubscribe --mca btl self,tcp \
  --mca pml ob1 -n 1 "$scratch/limited" train "$scratch/c.ini" --train.steps=20 --checkpoint.every_steps=2 \
  > "$scratch/out.log" 2>&1 || code=$?
[ $code = 74 ] || { cat "$scratch/out.log" >&2; fail "exit code $code instead of 74 under ulimit -f"; }
says "ulimit -f"
"$banyan" inspect "$scratch/run" --verify > /dev/null || fail "a commit was damaged"
[ -z "$(ls -d "$scratch"/run/ckpt/*.tmp 2> /dev/null)" ] || fail "an unfinished checkpoint was left"
run 0 --train.steps=8
says "resuming after step 6"

echo "bad checkpoints, limits and holders: all as promised"
kept
