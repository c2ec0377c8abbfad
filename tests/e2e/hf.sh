#!/bin/sh
# hf.sh BANYAN KIND: a trained model out to Hugging Face's layout and back in: the same tensors, the same text, and
# training goes on from there.
. "$(dirname "$0")/lib.sh"
kind=$2
dataset "$scratch/tokens.h5"
run=$scratch/run
config "$scratch/c.ini" "$kind" "$run"
must 0 2 train "$scratch/c.ini" --train.steps=10 --parallel.tensor=2

must 0 1 export "$run" --out "$scratch/hf"
for file in model.safetensors config.json tokenizer.json; do
  [ -s "$scratch/hf/$file" ] || fail "export writes no $file"
done
must 0 1 import "$scratch/hf" --out "$scratch/imported" --config-out "$scratch/imported.ini"
must 0 1 export "$scratch/imported" --out "$scratch/hf2"
diff -r "$scratch/hf" "$scratch/hf2" || fail "another directory after import and export"

# The config that import wrote and the tokenizer it placed are enough to generate.
prompt() {
  "$repo/tests/mpirun.sh" "$1" "$banyan" generate "$2" --prompt "the river" --generate.temperature=0 \
    --generate.tokens=16 --run.threads=1 2> "$scratch/out.log" || { cat "$scratch/out.log" >&2; fail "generate $2"; }
}
prompt 1 "$scratch/c.ini" > "$scratch/a.out"
prompt 1 "$scratch/imported.ini" > "$scratch/b.out"
cmp "$scratch/a.out" "$scratch/b.out" || { cat "$scratch/a.out" "$scratch/b.out" >&2; fail "another text"; }

# Training begins from the imported parameters: in the run directory itself, or in another.
set -- --data.train="$scratch/tokens.h5" --run.threads=1 --train.steps=3 --train.batch=8 --optimizer.warmup=1 \
  --optimizer.lr=1e-4
must 0 2 train "$scratch/imported.ini" "$@" --parallel.tensor=2
says "without optimizer state"
must 0 2 train "$scratch/imported.ini" "$@" --run.dir="$scratch/other" \
  --checkpoint.resume="$(ls -d "$scratch/imported"/ckpt/step-000000000.*)"
says "without optimizer state"
close_losses "$scratch/imported" "$scratch/other" 1e-4 3
first=$(losses "$scratch/imported" | awk 'NR == 1 { print $2 }')
last=$(losses "$run" | awk 'END { print $2 }')
awk -v a="$first" -v b="$last" 'BEGIN { exit !(a < b + 0.5) }' || fail "loss $first after import, $last before export"
# It goes on where that training stopped, not at the import.
must 0 1 train "$scratch/imported.ini" "$@" --train.steps=4
says "resuming after step 3"

# Refused.
must 64 1 import "$scratch/hf"
must 64 1 export "$run"
must 64 1 export "$run" --out "$scratch/new" --shard-size=nothing
must 78 1 export "$scratch/hf" --out "$scratch/new"
echo '{"version": "1.0", "model": {"type": "WordPiece"}}' > "$scratch/hf2/tokenizer.json"
must 65 1 import "$scratch/hf2" --out "$scratch/foreign"
says "--no-tokenizer"
must 0 1 import "$scratch/hf2" --out "$scratch/foreign" --no-tokenizer
shard=$(ls "$run"/ckpt/step-000000010.*/shard-00000.h5)
size=$(stat -c %s "$shard")
for i in 1 2 3 4 5 6 7 8 9; do
  printf '\377\377\377\377' | dd of="$shard" bs=1 seek=$((size / 10 * i)) conv=notrunc 2> /dev/null
done
must 65 1 export "$run" --out "$scratch/damaged"
[ ! -e "$scratch/damaged/config.json" ] || fail "a damaged checkpoint was exported"
