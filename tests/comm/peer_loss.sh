#!/bin/sh
# peer_loss.sh PROGRAM MODE RANKS: one rank goes (kill, hang, fail); all the others must notice by themselves in time.
# mpirun would end them first, hence --enable-recovery; its own exit code says nothing then.
program=$1 mode=$2 ranks=$3
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
MPIRUN_OPTIONS=--enable-recovery timeout 60 "$(dirname "$0")/../mpirun.sh" "$ranks" "$program" "$mode" "$dir" 2>&1 | tail -40
found=$(ls "$dir" | wc -l)
echo "$found of $((ranks - 1)) survivors noticed"
broken=0
[ "$found" -eq $((ranks - 1)) ] || broken=1
echo "1 faults injected, $broken promises broken"
[ $broken = 0 ]
