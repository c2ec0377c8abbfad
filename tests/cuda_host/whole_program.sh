#!/bin/sh
# whole_program.sh BANYAN_ON_HOST BANYAN KIND PRECISION MESH...: the program whose GPU is the layer of this folder, or
# banyan-cuda on a GPU, trains a small model on meshes "tensor,pipeline,data", with losses close to those of the CPU's
# backend.  On the last mesh a resumed run has the bits of one that was never stopped.  What is generated from its
# checkpoint is what the CPU makes of it.
. "$(dirname "$0")/../e2e/lib.sh"
gpu=$banyan cpu=$2 kind=$3 precision=$4
shift 4
steps=4
export CUDAEMU_DEVICES=2   # ranks of a node take them in turn
banyan=$cpu
dataset "$scratch/tokens.h5"
config "$scratch/c.ini" "$kind" "$scratch/unused"
sed -i "s/^layers = .*/layers = 2/; s/^width = .*/width = 32/; s/^heads = .*/heads = 4/; s/^kv_heads = .*/kv_heads = 2/
  s/^context = .*/context = 16/; s/^batch = .*/batch = 4/; s/^steps = .*/steps = $steps/; s/^warmup = .*/warmup = 1/
  s|^threads = 1|&\nmachine = $repo/configs/machines/epyc-2cores.ini|" "$scratch/c.ini"   # what is measured depends on the clock
case $precision in
  fp32) tolerance=1e-4 ;;
  bf16) tolerance=1e-3 ;;
  *) fail "unknown precision $precision" ;;
esac

train() { # train NAME MESH OPTION...
  run=$1
  mesh=$2
  shift 2
  IFS=, read -r t p d <<END
$mesh
END
  [ "$d" = 1 ] || set -- --parallel.zero=1 --parallel.bucket=16KiB "$@"
  must 0 $((t * p * d)) train "$scratch/c.ini" --run.dir="$scratch/$run" --parallel.tensor="$t" \
    --parallel.pipeline="$p" --parallel.data="$d" --run.precision="$precision" "$@"
}

train cpu 1,1,1
banyan=$gpu
for mesh; do
  export CUDAEMU_COUNTS="$scratch/counts.$mesh"
  saving=0
  [ "$mesh" = 1,1,1 ] || saving=2
  train "$mesh" "$mesh" --run.backend=cuda --checkpoint.every_steps=$saving
  unset CUDAEMU_COUNTS
  printf '%s %s mesh %s: ' "$kind" "$precision" "$mesh"
  close_losses "$scratch/$mesh" "$scratch/cpu" $tolerance $steps
done

# What the layer has counted in 2 steps: the difference of two runs, one of which is 2 steps shorter.
in_2_steps() { # in_2_steps WHAT RUN SHORT_RUN
  echo $(($(sed -n "s/^$1 //p" "$scratch/counts.$2") - $(sed -n "s/^$1 //p" "$scratch/counts.$3")))
}
counting() { # counting RUN OPTION...
  export CUDAEMU_COUNTS="$scratch/counts.$1"
  train "$@"
  unset CUDAEMU_COUNTS
}
# In a step CUDA makes the host wait for nothing and is asked for no memory.  The host itself waits once, however many
# losses and norms there are.
steady() { # steady RUN SHORT_RUN
  for what in "host waits" "memory calls"; do
    [ "$(in_2_steps "$what" "$1" "$2")" = 0 ] || { head "$scratch"/counts.* >&2; fail "steps have $what"; }
  done
  waits=$(in_2_steps "event waits" "$1" "$2")
  [ "$waits" = 2 ] || fail "$1 waits for $waits events in 2 steps, not 2"
}
last=$mesh  # train sets it
if [ -e "$scratch/counts.1,1,1" ]; then  # the layer counts, a GPU does not
  counting short 1,1,1 --run.backend=cuda --train.steps=2
  steady 1,1,1 short
  if [ "$precision" = fp32 ]; then
    larger="--model.layers=4 --parallel.microbatch=2"
    counting large 1,1,1 --run.backend=cuda $larger
    counting large-short 1,1,1 --run.backend=cuda $larger --train.steps=2
    steady large large-short
    # The GPU's memory is one piece, whatever is in it.
    calls() { sed -n "s/^memory calls //p" "$scratch/counts.$1"; }
    [ "$(calls large)" = "$(calls 1,1,1)" ] || { head "$scratch"/counts.* >&2; fail "a larger model takes more pieces of memory"; }
  fi
fi

# A run that goes on takes up the algorithms of its matrix products; another GPU chooses its own, and what is damaged is
# refused.
if [ -e "$scratch/short" ] && [ "$precision" = fp32 ]; then
  table="$scratch/short/algorithms.txt"
  grep -q '^cuBLASLt .* on CUDA on the CPU$' "$table" || fail "no algorithms are kept"
  cp "$table" "$scratch/algorithms.txt"
  goes_on() { train short 1,1,1 --run.backend=cuda --train.steps="$1"; }
  goes_on 3
  ! grep -q "says nothing about the library" "$scratch/out.log" || fail "its own algorithms are not known"
  cmp "$table" "$scratch/algorithms.txt" || fail "algorithms have changed"
  export CUDAEMU_NAME="another GPU"
  goes_on 4
  unset CUDAEMU_NAME
  says "algorithms.txt says nothing about the library and GPU of 1 of 1 ranks"
  grep -q ' on another GPU$' "$table" || fail "another GPU's algorithms are not kept"
  sed -i '2s/ : / :  /' "$table"
  must 78 1 train "$scratch/c.ini" --run.dir="$scratch/short" --run.backend=cuda --train.steps=5
  says "algorithms.txt is damaged"
fi

train resumed "$last" --run.backend=cuda --checkpoint.resume="$(ls -d "$scratch/$last"/ckpt/step-000000002.*)"
says "resuming after step 2"
losses "$scratch/$last" | tail -n 2 > "$scratch/whole.txt"
losses "$scratch/resumed" | cmp - "$scratch/whole.txt" || fail "the resumed run went on with other losses"

[ "$precision" = fp32 ] || exit 0
generate() { # generate OUT RANKS OPTION...
  out=$1
  ranks=$2
  shift 2
  "$repo/tests/mpirun.sh" "$ranks" "$banyan" generate "$scratch/c.ini" --run.dir="$scratch/resumed" --prompt "the river" \
    --prompt "new roots find water" --generate.tokens=6 --generate.temperature=0 "$@" > "$out" 2> "$scratch/out.log" ||
    { cat "$out" "$scratch/out.log" >&2; fail "generate $* on $ranks ranks"; }
}
same() { cmp "$1" "$2" || { cat "$1" "$2" >&2; fail "$3"; }; }
for weights in fp32 bf16 int8; do
  banyan=$cpu
  generate "$scratch/cpu.txt" 1 --generate.weights=$weights
  banyan=$gpu
  generate "$scratch/gpu.txt" 1 --generate.weights=$weights --run.backend=cuda
  same "$scratch/gpu.txt" "$scratch/cpu.txt" "weights in $weights"
done
generate "$scratch/mesh.txt" 4 --parallel.tensor=2 --parallel.pipeline=2 --generate.weights=$weights --run.backend=cuda
same "$scratch/mesh.txt" "$scratch/cpu.txt" "a mesh"
