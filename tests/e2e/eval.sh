#!/bin/sh
# eval.sh BANYAN: loss and perplexity of a checkpoint: the same on every mesh, for the held-out part, a token file, a text.
. "$(dirname "$0")/lib.sh"
dataset "$scratch/tokens.h5"
config "$scratch/c.ini" gpt2 "$scratch/run"
must 0 2 train "$scratch/c.ini" --data.validation_fraction=0.2

# loss_of RANKS OPTION...: what eval prints.
loss_of() {
  ranks_wanted=$1
  shift
  must 0 "$ranks_wanted" eval "$scratch/c.ini" --data.validation_fraction=0.2 "$@"
  sed -n 's/^loss \([0-9.]*\)  perplexity.*/\1/p' "$scratch/out.log"
}
text "$scratch/short.txt" 300 5
for what in "" "--data=$scratch/tokens.h5" "--text=$scratch/short.txt"; do
  one=$(loss_of 1 $what)
  [ -n "$one" ] || fail "eval printed no loss"
  for mesh in "--parallel.tensor=2 --parallel.pipeline=2" "--parallel.pipeline=4"; do
    other=$(loss_of 4 $mesh $what)
    awk -v a="$one" -v b="$other" 'BEGIN { d = (a - b) / a; if (d < 0) d = -d; exit !(b > 0 && d <= 1e-4) }' ||
      fail "loss $other instead of $one for [$what] under $mesh"
  done
done
# An untrained model would be near ln(400) = 6.
awk -v a="$one" 'BEGIN { exit !(a < 5.8) }' || fail "a loss of $one after training"

# What is not there or does not fit is said.
: > "$scratch/nothing.txt"
must 65 2 eval "$scratch/c.ini" --text="$scratch/nothing.txt"
must 78 2 eval "$scratch/c.ini" --run.dir="$scratch/nowhere"
must 78 2 eval "$scratch/c.ini" --model.layers=5
must 64 1 eval "$scratch/c.ini" --text=a --data=b
