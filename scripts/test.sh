#!/usr/bin/env bash
# test.sh [--soak] [CTEST ARGUMENT...]: installs what is missing, builds, runs every test and prints ctest's summary.
#   scripts/test.sh                    everything that belongs to a change
#   scripts/test.sh -L unit            one label (unit, ranks, cluster, e2e, fault, fuzz, cuda, gpu)
#   scripts/test.sh --soak             also the tests labelled soak, scripts/sanitize.sh and tests/fuzz/fuzz.sh
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

status=0
if $soak; then
  scripts/sanitize.sh all || status=1
  tests/fuzz/fuzz.sh || status=1
fi
build release
exclude=(-LE '^soak$')
if $soak; then exclude=(); fi
# Tests that start ranks take a fixed number of processors each (PROCESSORS), so that only single-process tests share.
ctest --preset release -j "$jobs" "${exclude[@]}" "$@" || status=1
exit $status
