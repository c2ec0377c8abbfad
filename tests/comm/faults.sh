#!/bin/sh
# faults.sh PROGRAM CASE RANKS: a fault, and what must come of it (fault_cases.hpp).  The ranks write their verdict to a
# file, because none can leave in good order afterwards.
program=$1 case=$2 ranks=$3
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# mpirun would end the survivors before they can tell, hence --enable-recovery.
MPIRUN_OPTIONS=--enable-recovery timeout 60 "$(dirname "$0")/../mpirun.sh" "$ranks" "$program" "$case" "$dir" >"$dir/output" 2>&1
if [ -e "$dir/verdict" ] && [ ! -s "$dir/verdict" ]; then
  echo "1 faults injected, 0 promises broken"
  exit 0
fi
tail -40 "$dir/output"
cat "$dir/verdict"
echo "1 faults injected, 1 promises broken"
exit 1
