#!/usr/bin/env bash
# report.sh BENCH: a step taken apart into operations, and the report and the verdict of perf/run.sh on figures made up.
set -euo pipefail
bench=$1
perf=$(cd "$(dirname "$0")/../../perf" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

"$bench" step --model.layers=1 --model.width=32 --model.heads=2 --model.context=16 --model.vocab=50 --train.batch=2 \
  --parallel.microbatch=2 --run.threads=1 --steps=2 --ops --json="$dir/step.json" > "$dir/step.txt"
for text in 'gemm NT \[32, 96\] over 32' attention_backward adamw 'outside of operations'; do
  grep -q "$text" "$dir/step.txt" || fail "no '$text' in $(cat "$dir/step.txt")"
done
grep -q steps_ms "$dir/step.json" || fail "the report has no steps"

# report FILE RATIO FRACTION: PyTorch takes RATIO times as long in all rounds, an operation has FRACTION of the peak.
report() {
  mkdir -p "$dir/$1"
  cat > "$dir/$1/steps.json" << END
{"cases": [{"case": "tiny", "programs": [
  {"program": "cpu", "median_ms": 10, "spread_ms": 1, "times_banyan": 1, "times_banyan_rounds": [1, 1],
   "memory_bytes": 1048576},
  {"program": "torch", "median_ms": 20, "spread_ms": 1, "times_banyan": $2, "times_banyan_rounds": [$2, $2],
   "memory_bytes": 50331648}]}]}
END
  cat > "$dir/$1/ops.json" << END
{"backend": "cpu", "peak_flops": 1e11, "peak_bandwidth": 1e10,
 "cases": [{"op": "add", "shape": "3", "seconds_best": 1, "seconds_median": 1, "fraction_of_peak_best": $3}]}
END
  "$perf/table.py" "$dir/$1"
}
report before 2.0 0.5
report same 1.95 0.48
report slow_step 1.8 0.5
report slow_op 2.0 0.4
grep -q '| tiny | torch | 20 | 1 | 2.00 | 48 |' "$dir/before/perf.md" || fail "$(cat "$dir/before/perf.md")"
"$perf/compare" "$dir/before/perf.json" "$dir/same/perf.json" > "$dir/out" || fail "noise is no regression: $(cat "$dir/out")"
for slow in slow_step slow_op; do
  rc=0
  "$perf/compare" "$dir/before/perf.json" "$dir/$slow/perf.json" > "$dir/out" || rc=$?
  [ $rc -eq 1 ] && grep -q '1 worse' "$dir/out" || fail "$slow went unnoticed: $rc, $(cat "$dir/out")"
done
echo "{}" > "$dir/nothing.json"
! "$perf/compare" "$dir/before/perf.json" "$dir/nothing.json" 2> /dev/null || fail "nothing was compared and all was well"
echo passed
