#!/usr/bin/env bash
# simulate.sh SOURCE BUILD: banyan-sim, built in BUILD, plays the same placements twice on 16 ranks: the same figures both
# times, every placement played, and their order as predicted. Exit code 77 where SimGrid is not installed.
set -euo pipefail
source=$1 build=$2
for tool in smpicxx smpirun; do
  command -v $tool >/dev/null || { echo "SKIPPED: there is no $tool; scripts/install-deps.sh test installs it"; exit 77; }
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() { echo "FAILED: $1" >&2; cat "$scratch"/*.log >&2; exit 1; }

cd "$source"
cmake --preset sim -B "$build" >/dev/null
cmake --build "$build" --target banyan-sim >"$scratch/build.log" 2>&1 || fail "banyan-sim does not build"
rm "$scratch/build.log"

play() {  # play NAME OPTION...
  local name=$1
  shift
  scripts/simulate.sh --program "$build/banyan-sim" --ranks 16 --node 2 --leaf 4 --ups 2 --placements 6 \
    --json "$scratch/$name.json" --parallel.tensor=2 --parallel.pipeline=2 --train.batch=8 --model.layers=2 "$@" \
    >"$scratch/$name.log" 2>&1
}
play first || fail "exit code $?"
play second || fail "exit code $?"
cmp "$scratch/first.json" "$scratch/second.json" || fail "two runs of one simulation differ"
grep -q '^6 placements' "$scratch/first.log" || fail "not six placements"
spearman=$(sed 's/.*"spearman":\([-0-9.e]*\).*/\1/' "$scratch/first.json")
awk -v s="$spearman" 'BEGIN { exit !(s >= 0.7) }' || fail "the order of the placements is not the predicted one: $spearman"

for refused in shared_memory=on progress=thread; do
  code=0
  play refused --comm.$refused || code=$?
  [ $code != 0 ] && grep -q "comm.${refused%=*} = ${refused#*=}" "$scratch/refused.log" || fail "$refused was not refused"
done
echo "passed; rank correlation $spearman"
