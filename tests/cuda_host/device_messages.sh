#!/bin/sh
# device_messages.sh BANYAN_ON_HOST nccl|none: the program whose GPU is the layer of this folder trains with comm.device = nccl to the
# bits of comm.device = staged, as both add in the order of ranks here; what cannot be had is refused with a sentence.
. "$(dirname "$0")/../e2e/lib.sh"
nccl=$2
dataset "$scratch/tokens.h5"
config "$scratch/c.ini" gpt2 "$scratch/unused"
sed -i "s/^layers = .*/layers = 2/; s/^width = .*/width = 32/; s/^heads = .*/heads = 4/; s/^kv_heads = .*/kv_heads = 2/
  s/^context = .*/context = 16/; s/^batch = .*/batch = 4/; s/^steps = .*/steps = 2/; s/^warmup = .*/warmup = 1/" "$scratch/c.ini"
export CUDAEMU_DEVICES=4
gpu() { # gpu CODE RANKS NAME OPTION...
  code=$1 ranks=$2 name=$3
  shift 3
  must "$code" "$ranks" train "$scratch/c.ini" --run.backend=cuda --run.dir="$scratch/$name" "$@"
}

gpu 78 2 refused --parallel.data=2 --comm.device=ucx
says "UCX"
says "write comm.device = staged"
must 78 2 train "$scratch/c.ini" --run.dir="$scratch/refused" --parallel.data=2 --comm.device=nccl
says "use run.backend = cuda"
if [ "$nccl" = none ]; then
  gpu 78 2 refused --parallel.data=2 --comm.device=nccl
  says "nccl.h and libnccl were not found"
  exit 0
fi
gpu 78 2 refused --parallel.data=2 --comm.device=nccl --comm.all_reduce=ring
says "comm.all_reduce = ring"
export CUDAEMU_DEVICES=1
gpu 78 2 refused --parallel.data=2 --comm.device=nccl
says "2 ranks share GPU 0"
export CUDAEMU_DEVICES=4 CUDAEMU_NCCL_VERSION=21602
gpu 78 2 refused --parallel.data=2 --comm.device=nccl
says "NCCL 2.16.2 was loaded"
gpu 0 2 auto --parallel.data=2
says "goes through host memory"
unset CUDAEMU_NCCL_VERSION

for mesh in "1 1 2" "2 2 1" "1 2 2"; do
  set -- $mesh
  options="--parallel.tensor=$1 --parallel.pipeline=$2 --parallel.data=$3"
  [ "$3" = 1 ] || options="$options --parallel.zero=1 --parallel.bucket=16KiB"
  [ "$1" = 1 ] || options="$options --parallel.sequence=true"
  at=$1.$2.$3
  gpu 0 $(($1 * $2 * $3)) "staged.$at" $options --comm.device=staged
  gpu 0 $(($1 * $2 * $3)) "nccl.$at" $options --comm.device=nccl
  grep -q "NCCL [0-9]" "$scratch/nccl.$at/attempts.jsonl" || fail "NCCL was not used"
  same_losses "$scratch/staged.$at" "$scratch/nccl.$at"
done

# A rank dies in the middle: the others find out who, though they wait for their GPUs, and leave.
MPIRUN_OPTIONS=--enable-recovery "$repo/tests/mpirun.sh" 2 "$banyan" train "$scratch/c.ini" --run.backend=cuda \
  --run.dir="$scratch/dies" --parallel.pipeline=2 --comm.device=nccl --train.steps=5000 > "$scratch/out.log" 2>&1 &
job=$!
wait_for_step "$scratch/dies" 1
victim=$(sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' "$scratch"/dies/causes/* | head -1)  # rank 0
kill -9 "$victim"
wait "$job" || true
grep -q 'rank 0 on .* failed: it ended without a word' "$scratch/dies/causes/1.1.json" ||
  { cat "$scratch/out.log" >&2; fail "rank 1 does not know what ended it"; }
