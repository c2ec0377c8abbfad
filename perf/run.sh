#!/usr/bin/env bash
# Builds, checks that the operations it times compute what they should, measures the machine's peaks, every operation
# and whole steps beside PyTorch by turns, and writes OUT/perf.json and OUT/perf.md.
#
#   perf/run.sh OUT [--peer PYTHON]... [--rounds N] [--only CASE] [--no-ops]
#
# PYTHON is an interpreter that has torch; default: those of /usr/bin/python3 and python3 that do.  Give every option of
# the environment that may matter to PyTorch (for example its BLAS) before; this script sets only OMP_WAIT_POLICY.
# Compare two reports with perf/compare.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
[ $# -ge 1 ] && [ "${1#-}" = "$1" ] || { sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 64; }
out=$1
shift
ops=yes peers=() steps=()
while [ $# -gt 0 ]; do
  case $1 in
    --peer) peers+=("$2"); shift 2 ;;
    --rounds | --only) steps+=("$1" "$2"); shift 2 ;;
    --no-ops) ops=no; shift ;;
    *) echo "perf/run.sh: $1 is no option of this script" >&2; exit 64 ;;
  esac
done
if [ ${#peers[@]} -eq 0 ]; then
  for python in /usr/bin/python3 "$(command -v python3 || true)"; do
    [ -x "$python" ] && [[ " ${peers[*]:-} " != *" $python "* ]] && "$python" -c 'import torch' 2>/dev/null && peers+=("$python")
  done
fi
[ ${#peers[@]} -gt 0 ] || echo "perf/run.sh: no python3 has torch, so steps are timed without an opponent" >&2
mkdir -p "$out"

cmake --preset release -S "$root" > "$out/build.log"
cmake --build "$root/build/release" --target bench kernels_tests >> "$out/build.log"
"$root/build/release/tests/kernels/kernels_tests" --gtest_brief=1 > "$out/check.log" ||
  { echo "perf/run.sh: the operations do not compute what they should; see $out/check.log" >&2; exit 65; }
bench=$root/build/release/bench
[ $ops = no ] || "$bench" ops --ms 200 --json "$out/ops.json"
"$here/steps.py" "$bench" "$out/steps.json" "${steps[@]}" "${peers[@]/#/--peer=}"
"$here/table.py" "$out"
