#!/bin/sh
# no_sharing.sh PROGRAM LIBRARY WHAT RANKS [RANK]: the conformance cases where a host does not let its ranks share memory
# (libnosharing.cpp says what may go wrong): everything works over messages, and rank 0 says so once.
program=$1 library=$2 what=$3 ranks=$4 rank=$5
output=$(mktemp)
trap 'rm -f "$output"' EXIT
timeout 100 "$(dirname "$0")/../mpirun.sh" "$ranks" env LD_PRELOAD="$library" BANYAN_TEST_NO_SHARING="$what" \
  ${rank:+BANYAN_TEST_NO_SHARING_RANK=$rank} "$program" >"$output" 2>&1
code=$?
said=$(grep -c 'cannot share memory with its node: .*; messages do instead' "$output")
if [ $code = 0 ] && [ "$said" = 1 ]; then exit 0; fi
tail -40 "$output"
echo "exit code $code, said $said times that messages do instead"
exit 1
