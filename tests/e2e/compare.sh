#!/bin/sh
# compare.sh BANYAN: the mesh of a configuration against one rank, by the program itself.
. "$(dirname "$0")/lib.sh"
dataset "$scratch/tokens.h5"
for kind in gpt2 llama; do
  config "$scratch/c.ini" "$kind" "$scratch/run"
  must 0 8 compare "$scratch/c.ini" --parallel.tensor=2 --parallel.pipeline=2 --parallel.zero=1 --parallel.sequence=true \
    --model.dropout=0.1
  says "computes what one rank computes"
  must 0 3 compare "$scratch/c.ini" --parallel.tensor=2 --steps=2
  must 0 4 compare "$scratch/c.ini" --parallel.tensor=2 --parallel.pipeline=2 --run.precision=bf16
done
must 78 2 compare "$scratch/c.ini" --model.layers=4000 --model.width=65536 --model.heads=64 --model.kv_heads=64
says "cannot hold"
[ ! -e "$scratch/run" ] || fail "compare has written into the run directory"
