#!/usr/bin/env bash
# referee.sh SOURCE REFEREE: prices anew the placements that were played once (tests/sim/played, by scripts/simulate.sh
# with the options below) and holds order and error against what was played. They are prices that change with src/plan;
# what was played changes only with the program and with SimGrid, and e2e.simulate plays.
set -euo pipefail
source=$1 referee=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() { echo "FAILED: $1" >&2; cat "$scratch"/*.log >&2; exit 1; }
cd "$source"

again() {  # again RECORD CORRELATION ERROR OPTION...: at least the one, at most the other
  local record=$1 correlation=$2 error=$3
  shift 3
  scripts/simulate.sh --program "$referee" --again "tests/sim/played/$record.json" --json "$scratch/$record.json" "$@" \
    >"$scratch/$record.log" 2>&1 || fail "exit code $?"
  local figures
  figures=$(sed 's/.*"spearman":\([-0-9.e]*\),"mean_error":\([-0-9.e]*\).*/\1 \2/' "$scratch/$record.json")
  echo "$record: rank correlation and mean error $figures"
  awk -v figures="$figures" -v c="$correlation" -v e="$error" \
    'BEGIN { split(figures, f, " "); exit !(f[1] >= c && f[2] <= e) }' || fail "$record: not $correlation and $error"
}

for record in 16-ranks 16-ranks-seed-2; do
  again $record 0.88 0.1 --ranks 16 --node 2 --leaf 4 --ups 2 --parallel.tensor=2 --parallel.pipeline=2 --train.batch=16
done
again 64-ranks 0.94 0.11 --ranks 64 --node 4 --leaf 4 --ups 2 --parallel.tensor=4 --parallel.pipeline=4 \
  --model.layers=4 --train.batch=32
large() {  # large SEED CORRELATION ERROR
  again "256-ranks-seed-$1" "$2" "$3" --seed "$1" --model.layers=4 --train.batch=32
}
large 2 0.97 0.09
large 3 0.96 0.1
large 4 0.94 0.13
large 5 0.94 0.14

code=0
scripts/simulate.sh --program "$referee" --again tests/sim/played/16-ranks.json >"$scratch/refused.log" 2>&1 || code=$?
[ $code != 0 ] && grep -q 'give the options it was played with' "$scratch/refused.log" ||
  fail "the record of another mesh was not refused"
echo passed
