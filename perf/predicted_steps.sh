#!/bin/sh
# predicted_steps.sh BANYAN [STEPS]: steps of many layouts on this machine, predicted and measured.  Prints a row for each
# layout and the mean error.  Nothing else should run meanwhile.
set -eu
banyan=$1
steps=${2:-12}
# shellcheck source=perf/lib.sh
. "$(dirname "$0")/lib.sh"

printf '%-38s %5s  %12s %12s %8s  %s\n' layout ranks 'predicted ms' 'measured ms' error others

# busy: seconds that all cores together have been busy.
busy() { awk -v hz="$(getconf CLK_TCK)" '$1 == "cpu" { printf "%.2f", ($2 + $3 + $4 + $7 + $8) / hz }' /proc/stat; }

# train RANKS OPTION...: one run; its row goes to $scratch/row, the share of the cores that others took with it.
train() {
  ranks=$1
  shift
  rm -rf "$scratch/run"
  begin=$(date +%s.%N) busy_before=$(busy)
  times > "$scratch/times.before"
  "$here/../tests/mpirun.sh" "$ranks" "$banyan" train "$scratch/config.ini" --run.dir="$scratch/run" --run.threads=1 \
    --data.train="$scratch/tokens.h5" --model.layers=8 --model.width=256 --model.heads=8 --model.context=128 \
    --train.batch=16 --parallel.microbatch=2 --train.steps="$steps" --checkpoint.every_steps=0 --checkpoint.view=false \
    "$@" > "$scratch/log" 2>&1 || { cat "$scratch/log" >&2; exit 1; }
  times > "$scratch/times.after"
  others=$(awk -v begin="$begin" -v end="$(date +%s.%N)" -v before="$busy_before" -v after="$(busy)" -v cores="$(getconf _NPROCESSORS_ONLN)" '
    FNR == 2 { s = 0; for (i = 1; i <= 2; ++i) { split($i, t, "[ms]"); s += 60 * t[1] + t[2] } own = s - own }
    END { share = (after - before - own) / (cores * (end - begin)); printf "%.0f", 100 * (share > 0 ? share : 0) }
  ' "$scratch/times.before" "$scratch/times.after")
  # The first two steps set things up; the median of the others counts.
  sed -n 's/.*"step": \([0-9]*\),.* "ms": \([0-9.e+]*\), "predicted_ms": \([0-9.e+]*\).*/\1 \2 \3/p' \
    "$scratch/run/metrics.jsonl" | awk '$1 > 2 { print $2, $3 }' | sort -n |
    awk -v name="$*" -v ranks="$ranks" -v others="$others" '
      { ms[NR] = $1; predicted = $2 }
      END {
        gsub(/--(parallel|train)\./, "", name)
        m = ms[int((NR + 1) / 2)]
        printf "%-38s %5d  %12.1f %12.1f %+6.1f %%  %d %%\n", name, ranks, predicted, m, 100 * (predicted / m - 1), others
      }' > "$scratch/row"
}

# A run during which others took more than a fifth of the cores (also while a job starts) says nothing: it is
# repeated, in the end left out.
row() {
  for try in 1 2 3 4; do
    train "$@"
    [ "$others" -le 20 ] && { tee -a "$scratch/rows" < "$scratch/row"; return; }
    [ "$try" = 4 ] || sleep 2
  done
  echo "$(cat "$scratch/row")  left out: others were busy"
}
t=--parallel.tensor p=--parallel.pipeline z=--parallel.zero=1
row 2 $t=1
row 2 $z
row 2 $t=2
row 2 $p=2
row 2 $p=2 --train.recompute=block
row 3 $p=3
row 4 $t=1
row 4 $t=4
row 4 $p=4
row 4 $t=2
row 4 $p=2 $z
row 4 $t=2 $p=2 --parallel.sequence=true
row 8 $t=2 $p=2
row 8 $p=8
[ -s "$scratch/rows" ] || { echo "others were busy all the time" >&2; exit 1; }
awk '{ e = $(NF - 3); sum += e < 0 ? -e : e } END { printf "mean error %.1f %% over %d layouts\n", sum / NR, NR }' "$scratch/rows"
