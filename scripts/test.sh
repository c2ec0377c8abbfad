#!/usr/bin/env bash
# test.sh [--soak] [CTEST ARGUMENT...]: installs what is missing, builds, runs every test and prints ctest's summary.
#   scripts/test.sh                    everything that belongs to a change
#   scripts/test.sh -L unit            one label (unit, ranks, cluster, e2e, fault, fuzz, cuda, gpu)
#   scripts/test.sh --soak             also the tests labelled soak, scripts/sanitize.sh and tests/fuzz/fuzz.sh
# After ctest's summary it says how many faults the fault tests have injected, and how many promises broke, if any ran.
# The exit code is 0 only when everything passed.
set -euo pipefail
cd "$(dirname "$0")/.."

soak=false
if [ "${1:-}" = --soak ]; then soak=true; shift; fi

scripts/install-deps.sh
if $soak; then scripts/install-deps.sh sanitize; fi
jobs=$(nproc)

build() {  # build PRESET
  cmake --preset "$1" >/dev/null
  # One line instead of hundreds when all goes well, everything when it does not.
  local log=build/$1/build.log
  echo "Building $1 ..."
  nice cmake --build --preset "$1" -j "$jobs" >"$log" 2>&1 || { cat "$log"; exit 1; }
}

# fault_totals <LOG: the sum of what the fault tests say at their ends (ctest shows it of failed ones only); false when
# a promise broke.
fault_totals() {
  awk '/[0-9] faults injected, .*[0-9] promises broken$/ {
         for (i = 2; i < NF; ++i) if ($i == "faults" && $(i + 1) == "injected,") faults += $(i - 1)
         broken += $(NF - 2); ++said }
       END { if (said) printf "fault tests: %d faults injected, %d promises broken\n", faults, broken
             exit broken > 0 }'
}

status=0
if $soak; then
  scripts/sanitize.sh all || status=1
  tests/fuzz/fuzz.sh || status=1
fi
build release
exclude=(-LE '^soak$')
if $soak; then exclude=(); fi
# Tests that start ranks take a fixed number of processors each (PROCESSORS), so that only single-process tests share.
log=build/release/Testing/Temporary/LastTest.log
rm -f "$log"  # where ctest runs nothing it would stay
ctest --preset release -j "$jobs" "${exclude[@]}" "$@" || status=1
if [ -e "$log" ]; then fault_totals <"$log" || status=1; fi
exit $status
