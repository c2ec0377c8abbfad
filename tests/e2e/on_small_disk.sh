#!/bin/sh
# on_small_disk.sh REPO BANYAN RUN CONFIG: RUN is a file system of 16 MB.  One checkpoint fits, then something else fills
# the disk: training goes on after a failed save, gives up with 74 after three, and resumes when there is room again.
set -eu
repo=$1 banyan=$2 run=$3 config=$4
train() { timeout -k 5 120 "$repo/tests/mpirun.sh" 2 "$banyan" train "$config" --run.dir="$run" "$@"; }
train --train.steps=4
dd if=/dev/zero of="$run/filler" bs=1024 count=100000 2> /dev/null || true
truncate -s -65536 "$run/filler"
train --train.steps=12 --checkpoint.every_steps=4 > "$run.log" 2>&1 && exit 1
grep -q "Exit code:    74" "$run.log"
grep -q "3 of 3 tries" "$run.log"
grep -q "intact" "$run.log"
grep -q '"step": 10,' "$run/metrics.jsonl"
[ -n "$(ls -d "$run"/ckpt/step-000000004.e1)" ]
[ -z "$(ls "$run/ckpt" | grep tmp || true)" ]
rm "$run/filler"
train --train.steps=12 --checkpoint.every_steps=4
