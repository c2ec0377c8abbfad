#!/bin/sh
# gpu.sh OUT [--build DIR] [--gpus N] [--small] [--on-host]: what Banyan does on this machine's GPUs.  Needs the CUDA
# toolkit and one to eight GPUs of a node.
#
# Checks first: every operation against its reference and the CPU's backend, then losses, resuming and generated text of
# small models against the CPU's; with two GPUs or more over NCCL as well.  What is wrong ends it (exit code 65).  Then
# times every operation beside the best product and copy of the same run, NCCL's collectives, and steps of GPT-2 124M
# and 1.5B; writes OUT/gpu.txt, one table of it all, and prints it.
#
# --build DIR: programs that are built already; --small: tiny sizes; --on-host: the emulation of tests/cuda_host in the
# place of a GPU, whose figures mean nothing.  Without a GPU: says why after SKIPPED, exit code 0.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
usage() { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 64; }
[ $# -ge 1 ] || usage
case $1 in -*) usage ;; esac
out=$1
shift
build= gpus= small= suffix=
while [ $# -gt 0 ]; do
  case $1 in
    --build) build=${2:?}; shift 2 ;;
    --gpus) gpus=${2:?}; shift 2 ;;
    --small) small=--small; shift ;;
    --on-host) suffix=-on-host; shift ;;
    *) usage ;;
  esac
done
mkdir -p "$out"
out=$(cd "$out" && pwd)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/banyan-perf.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

if [ -z "$build" ]; then
  build=$root/build/release
  cmake --preset release -S "$root" > "$out/build.log"
  cmake --build "$build" --target banyan banyan-cuda bench-gpu >> "$out/build.log"
fi
bench=$build/bench-gpu cuda=$build/banyan-cuda
[ -z "$suffix" ] || { bench=$build/tests/cuda_host/bench-gpu$suffix cuda=$build/tests/cuda_host/banyan-cuda$suffix; }
for program in "$bench" "$cuda" "$build/banyan"; do
  [ -x "$program" ] || { echo "gpu.sh: there is no $program; build it, or see why CUDA was not found in $out/build.log" >&2; exit 78; }
done

there=$("$bench" devices) || { echo "$there"; case $there in *SKIPPED*) exit 0 ;; esac; exit 65; }
gpus=${gpus:-$there}
[ "$gpus" -ge 1 ] && [ "$gpus" -le "$there" ] || { echo "gpu.sh: --gpus $gpus, and there are $there" >&2; exit 64; }

# ---- checks
wrong() { cat "$out/check.txt"; echo "gpu.sh: the GPU computes something else; nothing was timed" >&2; exit 65; }
"$bench" check ${small:+2000} > "$out/check.txt" 2>&1 || wrong
# losses KIND PRECISION MESH...: two ranks of one GPU share it.
losses() { sh "$root/tests/cuda_host/whole_program.sh" "$cuda" "$build/banyan" "$@" >> "$out/check.txt" 2>&1 || wrong; }
losses gpt2 fp32 1,1,1 2,1,1
if [ -z "$small" ]; then
  losses llama bf16 1,1,1 2,1,2
  losses gpt2 bf16 1,1,2 1,2,1
fi

# ---- operations and collectives
"$bench" ops $small > "$out/ops.txt"
: > "$out/comm.txt"
[ "$gpus" -lt 2 ] || "$root/tests/mpirun.sh" "$gpus" "$bench" comm $small > "$out/comm.txt"
bf16=$(sed -n 's/^ceilings: [0-9]* \([0-9]*\) .*/\1/p' "$out/ops.txt")

# ---- steps: step NAME CONFIG OPTION...; the median of the last steps, as rows of the table
awk 'BEGIN { srand(1); for (i = 0; i < 200000; ++i) printf "%c%s", 97 + int(rand() * 26), i % 7 ? "" : " " }' > "$scratch/text.txt"
"$build/banyan" tokenize --vocab-size 300 --out "$scratch/tokens.h5" "$scratch/text.txt" > "$out/tokenize.log" 2>&1
step() {
  name=$1 config=$2
  shift 2
  steps=12
  if [ -n "$small" ]; then
    steps=3
    set -- "$@" --model.layers=2 --model.width=32 --model.heads=4 --model.context=16 --model.vocab=300 --parallel.microbatch=2
    set -- "$@" --train.batch=$((4 * gpus))
  fi
  [ "$gpus" -gt 1 ] || set -- "$@" --parallel.zero=0
  "$root/tests/mpirun.sh" "$gpus" "$cuda" train "$config" --run.backend=cuda --run.precision=bf16 \
    --run.dir="$scratch/$name" --data.train="$scratch/tokens.h5" --train.steps=$steps --train.eval_every=0 \
    --optimizer.warmup=1 --checkpoint.every_steps=0 --checkpoint.view=false "$@" > "$out/$name.log" 2>&1 ||
    { tail -n 5 "$out/$name.log" >&2; echo "gpu.sh: $name failed, see $out/$name.log" >&2; exit 65; }
  sed -n 's/.*"step": \([0-9]*\),.*"tokens_per_s": \([^,}]*\).*"model_flops_per_s": \([^,}]*\).*/\1 \2 \3/p' \
    "$scratch/$name/metrics.jsonl" | tail -n +3 | sort -g -k 2 |
    awk -v name="$name" -v gpus="$gpus" -v peak="$bf16" '{ tokens[NR] = $2; flops[NR] = $3 } END {
      m = int((NR + 1) / 2)
      if (m < 1) exit 1
      printf "%-58s%12.0f%10.3f%10s%9s\n", name ", " gpus " GPUs", tokens[m], flops[m] / 1e12, "", sprintf("%.1f %%", 100 * flops[m] / gpus / peak)
    }' >> "$out/steps.txt"
}
: > "$out/steps.txt"
step gpt2-124m "$root/configs/gpt2-124m.ini" --parallel.microbatch=16 --train.batch=$((32 * gpus))
step gpt2-1.5b "$root/configs/gpt2-1.5b-h100.ini" --train.batch=$((16 * gpus))

{
  cat "$out/ops.txt" "$out/comm.txt"
  printf '%-58s%12s%10s%10s%9s\n' "step, bf16" "tokens/s" "TFLOP/s" "" "MFU"
  cat "$out/steps.txt"
  echo "MFU: of the best bf16 product above. Correct before: $(tail -n 1 "$out/check.txt")"
} > "$out/gpu.txt"
cat "$out/gpu.txt"
