#!/bin/bash
# every_bit.sh BANYAN LIBRARY EVERY_BIT STRIDE: a checkpoint of a small training, every STRIDE-th bit of which is turned round,
# and as many cuts and holes (every_bit.cpp), in two processes.
. "$(dirname "$0")/lib.sh"
program=$3 stride=$4
prepare 1
checkpoint=step-000000004.e1 broken=0
for lane in 0 1; do
  mkdir "$scratch/lane$lane"
  cp -r "$scratch/template/run/ckpt/$checkpoint" "$scratch/lane$lane/"
  "$program" "$scratch/lane$lane/$checkpoint" "$stride" $lane 2 >"$scratch/said.$lane" 2>&1 &
  pids[lane]=$!
done
for lane in 0 1; do wait "${pids[lane]}" || broken=1; done
grep -h BROKEN "$scratch"/said.? | head -n 40 || true
awk '/faults injected/ { faults += $1; harmless += $4; broken += $(NF - 2); n++ } { last = $0 }
  END { print faults " faults injected, " harmless " of them read past without harm, " broken + 0 " promises broken"; exit n != 2 }' \
  "$scratch"/said.? || { cat "$scratch"/said.?; broken=1; }
for lane in 0 1; do  # left as it was found
  diff -r "$scratch/lane$lane/$checkpoint" "$scratch/template/run/ckpt/$checkpoint" >&2 || broken=1
done
[ $broken = 0 ]
