#!/bin/sh
# plan.sh BANYAN: what `banyan plan` prints for every config of the repository, and what it refuses.
. "$(dirname "$0")/lib.sh"

plan() { # plan CODE ARG...
  code=$1
  shift
  alone "$code" plan "$@"
}

for config in "$repo"/configs/*.ini; do
  ranks=64 sum="  total "
  case $config in *quickstart*) ranks=4 ;; *h100*) sum="  of the GPU " ;; esac
  plan 0 "$config" --ranks $ranks --gflops 100 --model.vocab=50257
  for words in "parameters" "tokens/s" "stage" "$sum"; do says "$words"; done
done
plan 0 "$repo/configs/gpt2-124m.ini" --ranks 9 --gflops 100 --parallel.tensor=2 --parallel.pipeline=2
says "tensor 2 x data 2 x pipeline 2 on 9 ranks, 1 idle"
says "stage 1 .0aa"
# The plans of collectives, by size.
plan 0 "$repo/configs/gpt2-124m.ini" --ranks 8 --per-node 2 --gflops 100 --parallel.tensor=2 --comm.all_gather=ring
says "tensor group 2  all-reduce "
grep -q '^data group 4 *all-gather *0 B *- *ring' "$scratch/out.log" || fail "no line for the all-gather of the data group"
plan 78 "$repo/configs/gpt2-124m.ini" --ranks 8 --per-node 1 --gflops 100 --comm.all_reduce=shared
says "comm.all_reduce = shared"
# The speed is measured when it is not given.
plan 0 "$repo/configs/quickstart.ini" --ranks 4 --model.vocab=1000
says "FLOP/s a rank"

plan 0 "$repo/configs/gpt2-124m.ini" --ranks 4 --gflops 100 --memory 8GiB --search
says "--parallel.tensor="
says "do not fit"
plan 78 "$repo/configs/gpt2-124m.ini" --ranks 4 --gflops 100 --memory 1MiB --search
# A GPU's memory is counted apart from the host's.
plan 0 "$repo/configs/gpt2-1.5b-h100.ini" --ranks 8 --gflops 100 --memory 75GiB
plan 78 "$repo/configs/gpt2-1.5b-h100.ini" --ranks 8 --gflops 100 --memory 16GiB
says "of its GPU, but --memory"
# A described machine; everything is priced, also what does not run, and the answer is there at once.
for machine in "$repo"/configs/machines/*.ini; do
  plan 0 "$repo/configs/gpt2-124m.ini" --nodes 2 --machine "$machine" --explain
  for words in "priced for" "MFU" "= steady" "rejected"; do says "$words"; done
done
began=$(date +%s)
plan 0 "$repo/configs/gpt3-13b.ini" --model.vocab=50257 --ranks 16384 --train.batch=16384 --precision bf16 --json \
  --machine "$repo/configs/machines/h100-roce.ini"
says '"runnable":true,"not_runnable":""'
says '"runnable":false,"not_runnable":"ZeRO-2"'
grep -q '"not_runnable":"[^"]*bf16' "$scratch/out.log" && fail "training in bf16 is said not to run"
[ $(($(date +%s) - began)) -le 10 ] || fail "16,384 ranks took longer than 10 s"
# What carries the memory of GPUs has its price, and a machine that cannot tell it says which key is missing.
h100="$repo/configs/gpt2-1.5b-h100.ini --nodes 2 --model.vocab=50257 --run.backend=cuda"
plan 0 $h100 --machine "$repo/configs/machines/h100-ndr.ini"
says "messages of GPUs: NCCL's"
plan 0 $h100 --machine "$repo/configs/machines/h100-ndr.ini" --comm.device=staged
says "messages of GPUs: all through host memory"
plan 78 $h100 --machine "$repo/configs/machines/h100-roce.ini" --comm.device=staged
says "add node.host_link to a machine file"
# A known network in place of the machine's.
{
  echo "switch leaf0 hosts=n[0-3] rate=400GB"
  echo "switch leaf1 hosts=n[4-7] rate=400GB"
  echo "switch top switches=leaf[0-1] rate=400GB"
} > "$scratch/network"
plan 0 "$repo/configs/gpt2-124m.ini" --machine "$repo/configs/machines/h100-roce.ini" --topology "$scratch/network"
says "64 ranks priced for H100-80GB RoCE cluster on"
plan 64 "$repo/configs/gpt2-124m.ini" --topology "$scratch/network"
plan 64 "$repo/configs/gpt2-124m.ini" --nodes 9 --machine "$repo/configs/machines/h100-roce.ini" --topology "$scratch/network"
echo "switch" > "$scratch/network"
plan 65 "$repo/configs/gpt2-124m.ini" --machine "$repo/configs/machines/h100-roce.ini" --topology "$scratch/network"
plan 64 "$repo/configs/gpt2-124m.ini" --nodes 2
plan 64 "$repo/configs/gpt2-124m.ini" --nodes 2 --ranks 4 --machine "$repo/configs/machines/h100-roce.ini"
plan 64 "$repo/configs/gpt2-124m.ini" --precision fp8
plan 78 "$repo/configs/gpt2-124m.ini" --machine "$repo/configs/gpt2-124m.ini"
says "is no key of a machine"
plan 78 "$repo/configs/gpt2-124m.ini" --machine "$scratch/none.ini"
plan 78 "$repo/configs/gpt2-124m.ini" --gflops 100 --memory 1GiB
says "a rank needs"
says "memory = 1GiB"
plan 78 "$repo/configs/gpt2-124m.ini" --ranks 8 --gflops 100 --parallel.tensor=8
says "model.heads = 12 cannot be split over parallel.tensor = 8"
plan 78 "$repo/configs/gpt2-124m.ini" --ranks 8 --gflops 100 --parallel.data=3
says "1 x 1 x 3 = 3, but the job has 8 ranks"
plan 64 "$repo/configs/gpt2-124m.ini" --ranks 0
plan 64 "$repo/configs/gpt2-124m.ini" --memory much
plan 64 "$repo/configs/gpt2-124m.ini" --rank 4
plan 64

# What does not fit is refused before anything is allocated, by the job itself too.
dataset "$scratch/tokens.h5"
must 78 2 train "$repo/configs/gpt2-124m.ini" --run.dir="$scratch/run" --data.train="$scratch/tokens.h5" \
  --model.layers=4096 --model.width=12288 --train.batch=8
says "of memory, but its 2 ranks would need"
