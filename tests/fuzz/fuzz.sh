#!/bin/bash
# fuzz.sh [--seconds N] [--keep] [READER...]: looks for inputs on which a reader crashes, hangs, asks for more memory than its
# bounds allow, or is caught by AddressSanitizer or UBSan.  Needs clang (scripts/install-deps.sh sanitize).  All readers,
# for 300 s each, when none is named; --list prints them.  A finding stays in the directory it prints; exit code 1.
# --keep keeps the few inputs that reach what was reached, in tests/fuzz/corpus, where the next run and ctest begin.
set -u
cd "$(dirname "$0")/../.." || exit 1
seconds=300 names=() list=false keep=false
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) seconds=${2:?--seconds needs a number}; shift ;;
    --list) list=true ;;
    --keep) keep=true ;;
    -*) sed -n '2,5s/^# //p' "$0" >&2; exit 64 ;;
    *) names+=("$1") ;;
  esac
  shift
done
command -v clang++ >/dev/null || { echo "fuzz.sh needs clang++; scripts/install-deps.sh sanitize installs it" >&2; exit 69; }

build=build/debug
cmake --preset debug >/dev/null && nice cmake --build --preset debug -j "$(nproc)" --target fuzzer >$build/fuzzer.log ||
  { tail -n 40 $build/fuzzer.log; exit 1; }
fuzzer=$build/tests/fuzz/fuzzer
mapfile -t known < <($fuzzer --list)
if $list; then printf '%s\n' "${known[@]}"; exit 0; fi
[ ${#names[@]} -gt 0 ] || names=("${known[@]}")
for name in "${names[@]}"; do
  printf '%s\n' "${known[@]}" | grep -qx -- "$name" || { echo "there is no reader $name; --list prints them" >&2; exit 64; }
done

# Temporary files are written again and again: in memory, where there is any.
[ -d /dev/shm ] && export TMPDIR=/dev/shm
status=0
for name in "${names[@]}"; do
  dir=$build/fuzz/$name
  mkdir -p "$dir/corpus" "$dir/findings"
  export BANYAN_FUZZ_READER=$name
  $fuzzer --seeds "$dir/corpus"
  corpora=("$dir/corpus")
  [ -d "tests/fuzz/corpus/$name" ] && corpora+=("tests/fuzz/corpus/$name")
  # The largest bound a reader has before it knows its input to be sound is 32 MiB (a vocabulary).
  ASAN_OPTIONS=detect_stack_use_after_return=0 "$fuzzer" -max_total_time="$seconds" -max_len=16384 -rss_limit_mb=2048 \
    -malloc_limit_mb=64 -timeout=30 -print_final_stats=1 -artifact_prefix="$dir/findings/" "${corpora[@]}" >"$dir/log" 2>&1
  rc=$?
  printf '%-18s %5s s %10s inputs  %6s places  %5s MiB  %s\n' "$name" "$seconds" \
    "$(sed -n 's/^stat::number_of_executed_units: *//p' "$dir/log")" \
    "$(grep -o 'cov: [0-9]*' "$dir/log" | tail -n 1 | cut -d' ' -f2)" \
    "$(sed -n 's/^stat::peak_rss_mb: *//p' "$dir/log")" "$([ $rc = 0 ] && echo clean || echo "A FINDING")"
  if [ $rc = 0 ]; then
    $keep || continue
    rm -rf "$dir/few"
    mkdir "$dir/few"
    "$fuzzer" -set_cover_merge=1 -max_len=4096 -rss_limit_mb=2048 "$dir/few" "$dir/corpus" >>"$dir/log" 2>&1 && $fuzzer --keep "$dir/few" ||
      { echo "$name: what was reached is not kept, see $dir/log" >&2; status=1; }
    continue
  fi
  status=1
  tail -n 40 "$dir/log"
  echo "$name: a finding, in $dir/findings" >&2
done
exit $status
