#!/bin/sh
# whole_program.sh BANYAN_ON_HOST BANYAN KIND PRECISION MESH...: the program whose GPU is the layer of this folder trains a
# small model on meshes "tensor,pipeline,data", with losses close to those of the CPU's backend.  On the last mesh a
# resumed run has the bits of one that was never stopped.  What is generated from its checkpoint is what the CPU makes of it.
. "$(dirname "$0")/../e2e/lib.sh"
gpu=$banyan cpu=$2 kind=$3 precision=$4
shift 4
steps=4
export CUDAEMU_DEVICES=2   # ranks of a node take them in turn
banyan=$cpu
dataset "$scratch/tokens.h5"
config "$scratch/c.ini" "$kind" "$scratch/unused"
sed -i "s/^layers = .*/layers = 2/; s/^width = .*/width = 32/; s/^heads = .*/heads = 4/; s/^kv_heads = .*/kv_heads = 2/
  s/^context = .*/context = 16/; s/^batch = .*/batch = 4/; s/^steps = .*/steps = $steps/; s/^warmup = .*/warmup = 1/" "$scratch/c.ini"
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

# The host waits for the GPU while it sets up and saves, not in steps: CUDA is asked to by nothing in them.
if [ -e "$scratch/1,1,1" ]; then
  export CUDAEMU_COUNTS="$scratch/counts"
  last=$mesh
  train short 1,1,1 --run.backend=cuda --train.steps=2
  unset CUDAEMU_COUNTS
  cmp "$scratch/counts" "$scratch/counts.1,1,1" || { cat "$scratch/counts" "$scratch/counts.1,1,1" >&2; fail "steps wait"; }
  mesh=$last
fi

train resumed "$mesh" --run.backend=cuda --checkpoint.resume="$(ls -d "$scratch/$mesh"/ckpt/step-000000002.*)"
says "resuming after step 2"
losses "$scratch/$mesh" | tail -n 2 > "$scratch/whole.txt"
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
