#!/bin/sh
# generate.sh BANYAN KIND: the same text on every mesh, any bytes as prompts, JSON lines, and what is refused.
. "$(dirname "$0")/lib.sh"
kind=$2
dataset "$scratch/tokens.h5"
run=$scratch/run
config "$scratch/c.ini" "$kind" "$run"

# Nothing was trained yet.
must 78 1 generate "$scratch/c.ini" --prompt "the river"
says "$run"

must 0 1 train "$scratch/c.ini" --train.steps=60

# gen OUT RANKS ARG...: standard output in OUT, everything else in $scratch/out.log.
gen() {
  out=$1
  ranks=$2
  shift 2
  "$repo/tests/mpirun.sh" "$ranks" "$banyan" generate "$scratch/c.ini" "$@" > "$out" 2> "$scratch/out.log" ||
    { cat "$out" "$scratch/out.log" >&2; fail "generate $* on $ranks ranks"; }
}
same() { cmp "$1" "$2" || { cat "$1" "$2" >&2; fail "$3"; }; }

for temperature in 0 0.8; do
  set -- --prompt "the river mesh" --prompt "old trees" --prompt "water" --generate.temperature=$temperature \
    --generate.tokens=20
  gen "$scratch/one.txt" 1 "$@"
  grep -q "^the river mesh" "$scratch/one.txt" || fail "the prompt is not repeated: $(cat "$scratch/one.txt")"
  says "tokens/s"
  gen "$scratch/t2.txt" 2 "$@" --parallel.tensor=2
  gen "$scratch/p2.txt" 2 "$@" --parallel.pipeline=2
  gen "$scratch/d3.txt" 3 "$@"
  gen "$scratch/all.txt" 8 "$@" --parallel.tensor=2 --parallel.pipeline=2 --parallel.sequence=true
  for mesh in t2 p2 d3 all; do same "$scratch/$mesh.txt" "$scratch/one.txt" "mesh $mesh, temperature $temperature"; done
done
# Another seed, another text; batches of one prompt, the same text.
gen "$scratch/seed.txt" 1 "$@" --generate.seed=2
cmp -s "$scratch/seed.txt" "$scratch/one.txt" && fail "the seed has no effect"
gen "$scratch/alone.txt" 1 "$@" --generate.batch=1
same "$scratch/alone.txt" "$scratch/one.txt" "batches of one"

# Narrow weights: less memory, the same text from every mesh.
narrow() {
  gen "$scratch/narrow.txt" 1 "$@"
  grep -q "^the river mesh" "$scratch/narrow.txt" || fail "no text of $*"
  gen "$scratch/narrow4.txt" 4 "$@" --parallel.tensor=2 --parallel.pipeline=2
  same "$scratch/narrow4.txt" "$scratch/narrow.txt" "mesh t2 p2 of $*"
}
for weights in bf16 int8; do
  narrow --prompt "the river mesh" --prompt "old trees" --generate.temperature=0 --generate.tokens=20 \
    --generate.weights=$weights
done
must 78 1 generate "$scratch/c.ini" --prompt a --generate.weights=int4
says "int8"

# Spares idle, a named checkpoint is taken.
gen "$scratch/spare.txt" 3 "$@" --parallel.tensor=2 --checkpoint.resume="$(ls -d "$run"/ckpt/step-*)"
same "$scratch/spare.txt" "$scratch/one.txt" "a spare rank"

# No prompt, NUL and bytes that are no UTF-8: output is valid UTF-8 all the same.
gen "$scratch/empty.txt" 1 --prompt "" --generate.tokens=5
[ -s "$scratch/empty.txt" ] || fail "an empty prompt gives nothing"
printf 'a\000b\377\303 the' > "$scratch/bytes.bin"
gen "$scratch/bytes.txt" 1 --prompt-file "$scratch/bytes.bin" --generate.tokens=8
iconv -f utf-8 -t utf-8 "$scratch/bytes.txt" > "$scratch/iconv.txt" || fail "the output is not UTF-8"
tr -d '\000' < "$scratch/bytes.txt" | grep -q '^ab' || fail "the bytes of the prompt are gone"

# JSON lines: members are kept, order too, over windows smaller than the file.
for i in 1 2 3 4 5 6 7; do printf '{"id": %d, "prompt": "river %d"}\n' $i $i; done > "$scratch/in.jsonl"
gen "$scratch/none.txt" 2 --jsonl "$scratch/in.jsonl" --out "$scratch/out.jsonl" --generate.batch=1 --generate.tokens=3
[ "$(wc -l < "$scratch/out.jsonl")" = 7 ] || fail "seven requests, other answers: $(cat "$scratch/out.jsonl")"
sed -n 's/^{"id": *\([0-9]*\).*"text".*"tokens".*"finish".*/\1/p' "$scratch/out.jsonl" | tr -d '\n' | grep -qx 1234567 ||
  fail "answers out of order: $(cat "$scratch/out.jsonl")"
[ ! -s "$scratch/none.txt" ] || fail "JSON lines also on standard output"

# A signal to a working rank stops all of them between two windows; what was written is whole lines.
for i in $(seq 9000); do printf '{"id": %d, "prompt": "river %d"}\n' "$i" "$i"; done > "$scratch/many.jsonl"
"$repo/tests/mpirun.sh" 3 "$banyan" generate "$scratch/c.ini" --jsonl "$scratch/many.jsonl" --out "$scratch/many.out" \
  --parallel.tensor=2 > "$scratch/out.log" 2>&1 &
job=$!
for _ in $(seq 600); do [ -s "$scratch/many.out" ] && break; sleep 0.05; done
kill -USR1 "$(pgrep -f "^$banyan generate $scratch/c.ini" | head -n 1)"
code=0
wait $job || code=$?
[ $code = 75 ] || { cat "$scratch/out.log" >&2; fail "exit code $code instead of 75 after a signal"; }
written=$(wc -l < "$scratch/many.out")
[ "$written" -gt 0 ] && [ "$written" -lt 9000 ] || fail "$written lines were written before the signal"
[ "$(grep -c '^{.*}$' "$scratch/many.out")" = "$written" ] || fail "a line is cut"

# What is refused.
must 64 1 generate "$scratch/c.ini" --jsonl "$scratch/in.jsonl" --out "$scratch/out.jsonl"
says "exists"
must 64 1 generate "$scratch/c.ini"
says "--prompt"
must 64 1 generate "$scratch/c.ini" --prompt a --jsonl "$scratch/in.jsonl"
printf '{"prompt": "river"}\n{"prompt": 3}\n' > "$scratch/bad.jsonl"
must 65 2 generate "$scratch/c.ini" --jsonl "$scratch/bad.jsonl"
says "bad.jsonl:2"
long=$(for _ in $(seq 40); do printf 'river tensor '; done)
must 65 2 generate "$scratch/c.ini" --prompt ok --prompt "$long"
says "prompt 2 has"
says "model.context = 32"
must 64 1 generate "$scratch/c.ini" --prompt-file "$scratch/missing.txt"
must 64 1 generate "$scratch/c.ini" --jsonl "$scratch/missing.jsonl"
must 78 1 generate "$scratch/c.ini" --prompt a --model.width=128
says "model.width is 128 in the config and 64 in the checkpoint"
must 78 2 generate "$scratch/c.ini" --prompt a --parallel.tensor=3
