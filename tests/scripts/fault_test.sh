#!/usr/bin/env bash
# Fault tests (tests/fault) with a made-up program: one that meets no fault where it should has seen nothing, and fails.
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export TMPDIR=$dir

# Trains in no time, says all that local.sh waits for, and meets the first fault of every call named in MEETS.
cat >"$dir/banyan" <<'END2'
#!/bin/bash
run='' steps=''
for a in "$@"; do
  case $a in --run.dir=*) run=${a#*=} ;; --train.steps=*) steps=${a#*=} ;; esac
done
case $1 in
  inspect) echo "digest 1" ;;
  train)
    mkdir -p "$run/ckpt"
    for i in $(seq "$steps"); do echo "{\"step\": $i, \"loss\": $i}"; done >"$run/metrics.jsonl"
    IFS=: read -r call n action <<<"${FAULT:-}"
    if [ "$n" = 1 ] && [[ " $MEETS " == *" $call "* ]]; then
      touch "$FAULT_REACHED"
      if [ "$action" = kill ]; then exit 137; fi
    fi
    for i in 1 2 3; do echo "warning: no node-local checkpoint after step $i"; done
    echo "resuming after step 5; saved step-000000005.e2 on the nodes;" \
      "no node-local checkpoints, those of run.dir alone;" "there will be no more of them in this attempt" ;;
esac
END2
# Cuts the power KEPT times and keeps a state of each; without fsyncs promises break.
cat >"$dir/replay" <<'END2'
#!/bin/bash
if [ "${8:-}" = deaf ]; then exit 1; fi
for ((i = 1; i <= KEPT; ++i)); do mkdir -p "$7/$i.none/run" && echo 4 >"$7/$i.none.step"; done
echo "9 calls, 2 saves acknowledged: $KEPT crashes, 0 promises broken"
END2
chmod +x "$dir"/*

failures=0
# check CODE WORDS VARIABLE=VALUE SCRIPT ARGUMENT...: the fault test ends so and says that.
check() {
  local got
  env "$3" "$root/tests/fault/$4" "$dir/banyan" "$dir/none.so" "${@:5}" >"$dir/out" 2>&1 </dev/null
  got=$?
  if [ $got = "$1" ] && grep -qx "$2" "$dir/out"; then return; fi
  echo "FAILED: ${*:3}: exit code $got instead of $1, or no line '$2':"
  grep -v 'ld.so' "$dir/out" | head -n 20 | sed 's/injected/met/'
  failures=$((failures + 1))
}
check 0 "2 faults injected, 0 promises broken" "MEETS=fsync rename" sweep.sh 1 fsync:EIO:5 rename:EIO:5
check 1 "FAILED: never reached: rename:EIO:5" "MEETS=fsync" sweep.sh 1 fsync:EIO:5 rename:EIO:5
check 1 "0 faults injected, 0 promises broken" "MEETS=" sweep.sh 1 fsync:EIO:5
others=1
if unshare -rm true 2>/dev/null; then others=2; fi
check 0 "$((others + 4)) faults injected, 0 promises broken" "MEETS=any pwrite fsync rename" local.sh 13
check 1 "FAILED: never reached: fsync:EIO" "MEETS=any pwrite rename" local.sh 13
check 1 "$others faults injected, 0 promises broken" "MEETS=" local.sh 13
check 0 "3 faults injected, 0 promises broken" "KEPT=3" power_cut.sh "$dir/replay" 1 1 1
check 1 "FAILED: 0 power cuts left 0 states to start from.*" "KEPT=0" power_cut.sh "$dir/replay" 1 1 1

[ $failures = 0 ] && echo "all passed"
exit $((failures > 0))
