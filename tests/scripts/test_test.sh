#!/usr/bin/env bash
# scripts/test.sh with a made-up cmake and ctest: what it says of the faults that tests inject, and its exit code.
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/bin" "$dir/tree/scripts" "$dir/tree/build/release/Testing/Temporary"
cp "$root/scripts/test.sh" "$dir/tree/scripts/"
printf '#!/bin/sh\n' | tee "$dir/bin/cmake" >"$dir/tree/scripts/install-deps.sh"
# Leaves LOG as the log of its tests, none without, and ends with STATUS.
cat >"$dir/bin/ctest" <<'END2'
#!/bin/sh
if [ -n "${LOG:-}" ]; then printf '%s\n' "$LOG" >build/release/Testing/Temporary/LastTest.log; fi
echo "100% tests passed"
exit "${STATUS:-0}"
END2
chmod +x "$dir"/bin/* "$dir/tree/scripts/install-deps.sh"
export PATH=$dir/bin:$PATH

failures=0
check() {  # check CODE LAST-LINES VARIABLE=VALUE...: the code, and what is said from ctest's summary on
  local got said
  said=$(env "${@:3}" "$dir/tree/scripts/test.sh" -L any 2>&1)
  got=$?
  said=$(sed -n '/^100%/,$p' <<<"$said" | paste -sd ';')
  if [ "$got/$said" = "$1/$2" ]; then return; fi
  echo "FAILED: $1/$2 became $got/${said//injected/met}"
  failures=$((failures + 1))
}
# What each kind of test says, and what looks like it.
log='1/9 Testing: fault.sweep.n1
1 ranks, any kill, every 29, rank 0: 14 faults, 0 ended with 0, 0 promises broken
14 faults injected, 0 promises broken
7600 faults injected, 90 of them read past without harm, 0 promises broken
30 steps, 2 attempts, seed 1: 3 faults injected, 0 promises broken
without fsync: 9 calls, 2 saves acknowledged: 60 crashes, 5 promises broken'
check 0 "100% tests passed;fault tests: 7617 faults injected, 0 promises broken" LOG="$log"
check 1 "100% tests passed;fault tests: 7617 faults injected, 0 promises broken" LOG="$log" STATUS=8
check 1 "100% tests passed;fault tests: 7619 faults injected, 2 promises broken" LOG="$log
2 faults injected, 2 promises broken"
check 0 "100% tests passed" LOG="no test of that kind"
# A log of an earlier time says nothing.
printf '%s\n' "$log" >"$dir/tree/build/release/Testing/Temporary/LastTest.log"
check 0 "100% tests passed"
check 1 "100% tests passed" STATUS=8

[ $failures = 0 ] && echo "all passed"
exit $((failures > 0))
