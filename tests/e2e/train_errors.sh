#!/bin/sh
# train_errors.sh BANYAN: what can go wrong with a training run: the exit code, one clear message, nothing lost.
. "$(dirname "$0")/lib.sh"
dataset "$scratch/tokens.h5"
config "$scratch/c.ini" gpt2 "$scratch/run"
train() { # train CODE RANKS OPTION...
  want=$1 n=$2
  shift 2
  must "$want" "$n" train "$scratch/c.ini" "$@"
}

# ---- the command line and the configuration: 64 and 78, nothing is created
train 78 1 --model.widht=64
says "model.width"
train 78 2 --model.layers=many
train 78 2 --parallel.tensor=3
train 78 2 --model.heads=7 --parallel.tensor=2
train 78 1 --data.train=
[ ! -e "$scratch/run" ] || fail "a refused configuration has made a run directory"

# ---- data: 65
train 65 2 --data.train="$scratch/nowhere.h5"
says "nowhere.h5"
: > "$scratch/empty.h5"
train 65 2 --data.train="$scratch/empty.h5"
head -c 3000 "$scratch/tokens.h5" > "$scratch/short.h5"
train 65 2 --data.train="$scratch/short.h5"
train 65 1 --data.train="$scratch/c.ini"

# ---- numbers: the step is named, the last commit is intact
train 0 2 --train.steps=4
train 76 2 --optimizer.lr=1e30 --optimizer.warmup=0 --optimizer.clip=0 --train.steps=12
says "of step "
# Three such attempts, then somebody has to say that there shall be more.
for _ in 2 3; do train 76 2 --optimizer.lr=1e30 --optimizer.warmup=0 --optimizer.clip=0 --train.steps=12; done
train 93 2 --train.steps=8
says "the last 3 attempts (2, 3, 4) began at step 4 and saved nothing newer; of the last one, rank "
says "ended with 76 in step "
says "--run.attempts=6"
train 0 2 --train.steps=8 --run.attempts=6
says "resuming after step 4"

# ---- keys that a resume must not change are named: 78
for option in --model.layers=5 --run.seed=8 --train.batch=16 --model.context=16 --model.dropout=0.1; do
  train 78 2 --train.steps=12 $option
  key=${option#--}
  says "${key%%=*}"
done
text "$scratch/other.txt" 20000 9
"$banyan" tokenize --vocab-size 400 --out "$scratch/other.h5" "$scratch/other.txt" > "$scratch/tokenize.log" 2>&1
train 78 2 --train.steps=12 --data.train="$scratch/other.h5"
says "data.train"
# ... and these may change.
train 0 3 --train.steps=10 --parallel.tensor=2 --log.level=warning --checkpoint.keep=2
says "idle"

# ---- the same text under another path is the same data
cp "$scratch/tokens.h5" "$scratch/moved.h5"
train 0 2 --train.steps=11 --data.train="$scratch/moved.h5"

# ---- held by a live job: 73, and that job does not notice
"$repo/tests/mpirun.sh" 2 "$banyan" train "$scratch/c.ini" --run.dir="$scratch/held" --train.steps=3000 \
  > "$scratch/run.log" 2>&1 &
holder=$!
for _ in $(seq 600); do
  [ -s "$scratch/held/metrics.jsonl" ] && break
  sleep 0.05
done
train 73 2 --run.dir="$scratch/held" --train.steps=3000
touch "$scratch/held/stop"
code=0
wait $holder || code=$?
[ $code = 75 ] || { cat "$scratch/run.log" >&2; fail "the holder ended with $code instead of 75"; }

# ---- damaged checkpoints: the newest that verifies counts; when none does, 78 and no fresh start
train 0 2 --run.dir="$scratch/damaged" --train.steps=6 --checkpoint.every_steps=2
flip() { printf '\125' | dd of="$1" bs=1 seek=$(($(wc -c < "$1") / 2)) conv=notrunc 2> /dev/null; }
for f in "$scratch"/damaged/ckpt/step-000000006.*/*.h5; do flip "$f"; done
train 0 2 --run.dir="$scratch/damaged" --train.steps=8
says "resuming after step 4"
for f in "$scratch"/damaged/ckpt/step-*/*.h5; do flip "$f"; done
before=$(cat "$scratch/damaged/metrics.jsonl" | wc -l)
train 78 2 --run.dir="$scratch/damaged" --train.steps=9
[ "$before" = "$(cat "$scratch/damaged/metrics.jsonl" | wc -l)" ] || fail "a fresh start although checkpoints are there"

# ---- a disk that takes no more: training goes on after a failed save, and gives up with 74 after three
# (a small file system of its own, where the system lets us mount one)
full() {
  mkdir "$scratch/full"
  unshare -rm sh -c 'mount -t tmpfs -o size=16m tmpfs "$1" && exec sh "$0" "$2" "$3" "$1" "$4"' \
    "$here/on_small_disk.sh" "$scratch/full" "$repo" "$banyan" "$scratch/c.ini" > "$scratch/out.log" 2>&1
}
if unshare -rm true 2> /dev/null; then
  full || { cat "$scratch/out.log" >&2; fail "the run on a full disk"; }
else
  echo "SKIPPED: no run on a full disk, because unshare -rm is not allowed here" >&2
fi

# ---- a directory that cannot be
train 74 2 --run.dir=/proc/banyan

# ---- limits: time limit 75, loss reached 0
train 75 2 --run.dir="$scratch/limit" --train.steps=100000 --train.max_time=2s
says "train.max_time"
train 0 2 --run.dir="$scratch/loss" --train.steps=100000 --train.stop_loss=5
