#!/usr/bin/env bash
# sanitize.sh [asan|ubsan|tsan|all] [FOLDER...] [-R REGEX]: builds with clang's sanitizers, runs the unit tests, the rank
# tests and, under AddressSanitizer, whole jobs on several ranks, and says how many ran, failed and were skipped.  The
# exit code is 0 only when none failed.
#   asan, ubsan   AddressSanitizer with LeakSanitizer, UndefinedBehaviorSanitizer: one build has both (build/debug)
#   tsan          ThreadSanitizer (build/tsan): unit tests, whose ranks are threads, and rank tests over MPI, of which each
#                 process is watched by itself
#   FOLDER        builds and runs only the unit tests of tests/FOLDER: comm, io, ...
#   -R REGEX      runs only tests whose name matches
# Needs clang and its OpenMP (scripts/install-deps.sh sanitize).  What is passed over, with the reason, is in
# scripts/sanitize/*.supp: nothing of ours.
set -uo pipefail
cd "$(dirname "$0")/.."

presets=(debug tsan) folders=() regex=
while [ $# -gt 0 ]; do
  case $1 in
    asan | ubsan) presets=(debug) ;;
    tsan) presets=(tsan) ;;
    all) presets=(debug tsan) ;;
    -R) regex=${2:?-R needs a regular expression}; shift ;;
    -* | */*) sed -n '2,12s/^# //p' "$0" >&2; exit 64 ;;
    *)
      [ -e "tests/$1/CMakeLists.txt" ] || { echo "there is no tests/$1" >&2; exit 64; }
      folders+=("$1") ;;
  esac
  shift
done
for tool in clang++ llvm-symbolizer; do
  command -v $tool >/dev/null || { echo "sanitize.sh needs $tool; scripts/install-deps.sh sanitize installs it" >&2; exit 69; }
done

here=$PWD/scripts/sanitize
export ASAN_OPTIONS=strict_string_checks=1
export LSAN_OPTIONS=suppressions=$here/lsan.supp:print_suppressions=0
export UBSAN_OPTIONS=print_stacktrace=1
# The tool inside clang's OpenMP, Archer, tells ThreadSanitizer of forks, joins and barriers; what libraries without
# instrumentation touch, OpenMP's own among them, is left out, or each join would look like a race.
export TSAN_OPTIONS=ignore_noninstrumented_modules=1:second_deadlock_stack=1

build() {  # build PRESET TARGET...
  local preset=$1 log=build/$1/build.log
  shift
  cmake --preset "$preset" >/dev/null || exit 1
  echo "Building with sanitizers ($preset) ..."
  nice cmake --build --preset "$preset" -j "$(nproc)" --target "$@" >"$log" 2>&1 || { tail -n 60 "$log"; exit 1; }
}

ran=0 failed=0 skipped=0
run() {  # run PRESET CTEST-ARGUMENT...: runs tests and adds to the counts
  local preset=$1 log=build/$1/sanitize.log
  shift
  ctest --preset "$preset" -j 2 --no-tests=ignore "$@" >"$log" 2>&1
  grep -vE '^ *Start |  Passed  |^Test project|^ *$' "$log"
  count() { grep -cE "^ *[0-9]+/[0-9]+ Test +#[0-9]+: .*$1" "$log"; }
  ran=$((ran + $(count '')))
  failed=$((failed + $(count '\*\*\*(Failed|Timeout|Exception|Not Run)')))
  skipped=$((skipped + $(count '\*\*\*Skipped')))
}

# Stacks of libraries without frame pointers end before the name that a suppression knows, unless they are unwound with
# care, which makes each allocation ten times slower: only for what starts MPI, and the unit tests that start hwloc.
hwloc='^comm\.LookInside\.'
carefully() { ASAN_OPTIONS=$ASAN_OPTIONS:fast_unwind_on_malloc=0 run "$@"; }
unit() {  # unit PRESET [WANTED]: unit tests, all with care where a regular expression asks for some
  # ctest takes one -R alone: with both, the folder decides what is built.
  [ -z "$regex" ] || { carefully "$1" -L '^(unit|fuzz)$' -R "$regex"; return; }
  run "$1" -L '^(unit|fuzz)$' -R "${2:-.}" -E "$hwloc"
  [[ ${2:-comm} != *comm* ]] || carefully "$1" -R "$hwloc"
}

for preset in "${presets[@]}"; do
  if [ ${#folders[@]} -gt 0 ]; then
    build "$preset" "${folders[@]/%/_tests}"
    unit "$preset" "^($(IFS='|'; echo "${folders[*]}"))\\."
    continue
  fi
  if [ "$preset" = tsan ]; then
    build tsan unit_tests rank_tests
    run tsan -L '^(unit|fuzz|ranks)$' -E '^mpich' ${regex:+-R "$regex"}
    continue
  fi
  build debug unit_tests rank_tests banyan
  unit debug
  carefully debug -L '^ranks$' -E '^mpich' ${regex:+-R "$regex"}
  # Whole jobs: trained on 4 and 8 ranks, killed, resumed on other meshes, evaluated, generated from.
  carefully debug -L '^e2e$' -R "${regex:-^e2e\.(resume|stop|transport|eval|generate\.gpt2)$}"
done
echo "sanitize.sh: $ran tests ran, $failed failed, $skipped were skipped"
[ $failed = 0 ] && [ $ran -gt 0 ]
