#!/bin/sh
# tokenize.sh BANYAN: what banyan tokenize refuses: the exit code, one clear message, nothing lost and nothing left.
. "$(dirname "$0")/lib.sh"
out=$scratch/out.h5
tokenize() { # tokenize CODE ARG...
  code=$1
  shift
  alone "$code" tokenize "$@"
}
none() { [ ! -e "$out" ] || fail "$out was written"; }
text "$scratch/t.txt" 3000 1

# ---- the command line: 64
tokenize 64 "$scratch/t.txt" --vocab-size 400
says "--out"
tokenize 64 "$scratch/t.txt" --out "$out"
says "--vocab-size"
tokenize 64 "$scratch/t.txt" --out "$out" --vocab-size 400 --tokenizer "$scratch/t.txt"
tokenize 64 "$scratch/t.txt" --out "$out" --vocab-size 256
tokenize 64 "$scratch/t.txt" --out "$out" --vocab-size 400 --format csv
tokenize 64 "$scratch/t.txt" --out "$out" --vocab-size 400 --train-bytes much
tokenize 64 "$scratch/t.txt" --out "$out" --vocab-size 400 --vocabsize 3
tokenize 64 --out "$out" --vocab-size 400
tokenize 64 "$scratch/t.txt" --out "$scratch" --vocab-size 400
says "is a directory"
none

# ---- input: 65
tokenize 65 "$scratch/nowhere.txt" --out "$out" --vocab-size 400
says "nowhere.txt"
tokenize 65 "$scratch" --out "$out" --vocab-size 400
says "is a directory"
: > "$scratch/empty.txt"
tokenize 65 "$scratch/empty.txt" --out "$out" --vocab-size 400
says "no text"
printf '{"text": "fine"}\n{"text": 7}\n' > "$scratch/bad.jsonl"
tokenize 65 "$scratch/bad.jsonl" --out "$out" --vocab-size 400
says "bad.jsonl:2"
printf '{"text": "fine"}\n{"text": "torn' > "$scratch/torn.jsonl"
tokenize 65 "$scratch/torn.jsonl" --out "$out" --vocab-size 400
says "torn.jsonl:2"
none

# ---- tokenizers: 65
tokenize 65 "$scratch/t.txt" --out "$out" --tokenizer "$scratch/nowhere.json"
tokenize 65 "$scratch/t.txt" --out "$out" --tokenizer "$scratch/t.txt"
echo '{"model": {"type": "Unigram"}}' > "$scratch/unigram.json"
tokenize 65 "$scratch/t.txt" --out "$out" --tokenizer "$scratch/unigram.json"
says "byte-level BPE"
none

# ---- what is there is kept, unless told; the same input gives the same bytes
tokenize 0 "$scratch/t.txt" --out "$out" --vocab-size 400
tokenize 64 "$scratch/t.txt" --out "$out" --vocab-size 300
says "--force"
cp "$out" "$scratch/first.h5"
tokenize 0 "$scratch/t.txt" --out "$out" --vocab-size 400 --force
cmp "$out" "$scratch/first.h5" || fail "the same text gives another file"

# ---- damage
tokenize 0 --check "$out"
size=$(wc -c < "$out")
for at in 40 $((size / 2)) $((size - 9)); do
  cp "$out" "$scratch/flipped.h5"
  printf '\125\252' | dd of="$scratch/flipped.h5" bs=1 seek="$at" conv=notrunc 2> /dev/null
  tokenize 65 --check "$scratch/flipped.h5"
  tokenize 65 --check "$scratch/flipped.h5"
done
head -c $((size - 1)) "$out" > "$scratch/short.h5"
tokenize 65 --check "$scratch/short.h5"

# ---- a place that cannot be written: 74
tokenize 74 "$scratch/t.txt" --out /proc/banyan/out.h5 --vocab-size 400

# ---- a signal: 75 at once, the file that was there stays
text "$scratch/long.txt" 300000 2
# Long enough that the signal comes in time on a machine that is busy with other things.
for _ in $(seq 80); do cat "$scratch/long.txt"; done > "$scratch/longer.txt"
"$banyan" tokenize "$scratch/longer.txt" --out "$out" --vocab-size 400 --force > "$scratch/out.log" 2>&1 &
worker=$!
# Once it catches the signal (bit 14 of the mask): earlier, it would die of it like any program.
for _ in $(seq 500); do
  caught=$(sed -n 's/^SigCgt:.*\(....\)$/\1/p' "/proc/$worker/status")
  [ $((0x$caught & 0x4000)) = 0 ] || break
  sleep 0.01
done
kill -TERM $worker
code=0
wait $worker || code=$?
[ $code = 75 ] || { cat "$scratch/out.log" >&2; fail "exit code $code instead of 75 after a signal"; }
says "SIGTERM"
cmp "$out" "$scratch/first.h5" || fail "an interrupted command has replaced the file"
[ -z "$(find "$scratch" -name 'out.h5.*')" ] || fail "temporary files stay behind"
