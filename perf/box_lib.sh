# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154
# Shared by the scripts of this folder that train on the cluster in a box (tests/cluster/box.sh). A script sets the
# defaults of its numbers (rounds, steps, ...) and the array of their names, takes=(rounds steps), and then, with its own
# parameters, BANYAN [--NAME N]... [--option --section.key=value]...:   . "$(dirname "$0")/box_lib.sh"
# The box is up then, $program is BANYAN, $scratch has a dataset and a configuration of a small GPT-2, $options holds
# what was asked for.
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/tests/cluster/box.sh"
program=$(realpath "$1")
shift
options=()
while [ $# -gt 0 ]; do
  case $1 in
    --option) options+=("$2") ;;
    --*) case " ${takes[*]} " in *" ${1#--} "*) printf -v "${1#--}" %s "$2" ;; *) sed -n '2,/^[^#]/s/^# //p' "$0" >&2; exit 64 ;; esac ;;
    *) sed -n '2,/^[^#]/s/^# //p' "$0" >&2; exit 64 ;;
  esac
  shift 2
done
box_up
TMPDIR=$BOX
set -- "$program"
. "$top/tests/e2e/lib.sh"
repo=$top
box_guard
dataset "$scratch/tokens.h5"
config "$scratch/config.ini" gpt2 "$scratch/run"

# seconds_a_step NAME RANKS OPTION...: trains so many ranks, on the hosts in $BANYAN_LAUNCH_ARGS, in the run directory
# $scratch/NAME; prints the median of the steps after the third.
seconds_a_step() {
  local run=$scratch/$1 ranks=$2 code=0
  shift 2
  box_on n1 "$repo/scripts/launch.sh" -n "$ranks" --mpirun -- "$banyan" train "$scratch/config.ini" --run.dir="$run" \
    --train.steps="$steps" "$@" "${options[@]}" >"$scratch/out.log" 2>&1 || code=$?
  [ $code = 0 ] || { cat "$scratch/out.log" >&2; fail "exit code $code with $*"; }
  sed -n 's/.*"step": \([0-9]*\),.*"tokens": \([0-9]*\),.*"tokens_per_s": \([0-9.e+-]*\),.*/\1 \2 \3/p' \
    "$run/metrics.jsonl" | awk '$1 > 3 { print $2 / $1 / $3 }' | sort -g |
    awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

# ratios A B BASE: of the lines "a b seconds" in $scratch/measured, medians for each a and b, and how many times faster than
# b = BASE with the same a. A and B say what a and b are.
ratios() {
  sort -k1,1 -k2,2V -k3,3g "$scratch/measured" | awk -v A="$1" -v B="$2" -v base="$3" '
    function close_group() {
      if (name == "") return
      median[name] = n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
      spread[name] = sprintf("%d times, %.3f to %.3f", n, v[1], v[n])
      order[++names] = name
    }
    $1 " " $2 != name { close_group(); name = $1 " " $2; n = 0 }
    { v[++n] = $3 }
    END {
      close_group()
      for (i = 1; i <= names; ++i) {
        split(order[i], part, " ")
        printf "%s %-5s  %s %-4s  %.3f s a step (%s)  %.2f x\n", A, part[1], B, part[2], median[order[i]], spread[order[i]],
               median[part[1] " " base] / median[order[i]]
      }
    }'
}
