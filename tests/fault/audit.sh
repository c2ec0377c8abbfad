#!/bin/bash
# audit.sh BANYAN LIBFLIP CASE: a bit flips in the memory of one rank while it trains.
#   gradient   in a gradient, which then goes to all ranks: without audits the job ends well, with other losses; with
#              them it ends with 69, names the rank, and the next start goes on to the losses of an undisturbed job
#   weight     in a parameter of one of three ranks: an audit names that one; without, the first save notices
#   pipeline   in a gradient of the second stage, with ZeRO-1 and tensor ranks
. "$(dirname "$0")/../e2e/lib.sh"
. "$(dirname "$0")/counted.sh"
libflip=$2 case=$3 host=$(hostname -s)
run=$scratch/run
dataset "$scratch/tokens.h5"
config "$scratch/config.ini" gpt "$run"
steps=8
case $case in
  gradient) ranks=2 victim=1 kind=gradient mesh='--parallel.data=2' audits=1 call=150 ;;
  weight) ranks=3 victim=2 kind=weight mesh='--parallel.data=3 --train.batch=6' audits=3 call=50 ;;
  pipeline) ranks=8 victim=5 kind=gradient mesh='--parallel.tensor=2 --parallel.pipeline=2 --parallel.zero=1' audits=1 call=100 ;;
esac
show() { cat "$scratch/out.log" "$run"/causes/*.json >&2; }
# train EXPECTED FLIP ARG...: the launcher's exit code
train() {
  expected=$1 flip=$2
  shift 2
  [ -z "$flip" ] || injected
  code=0
  # shellcheck disable=SC2086
  FLIP=$flip FLIP_RANK=$victim FLIP_CALL=$call \
    BANYAN_LAUNCH_ARGS="-x FLIP -x FLIP_RANK -x FLIP_CALL -x LD_PRELOAD=$libflip" BANYAN_LAUNCH_GRACE=5 \
    timeout 120 "$repo/scripts/launch.sh" -n $ranks --mpirun --outcome "$scratch/outcome" -- "$banyan" train \
    "$scratch/config.ini" $mesh --train.steps=$steps --checkpoint.every_steps=4 "$@" >"$scratch/out.log" 2>&1 || code=$?
  [ $code = "$expected" ] || { show; fail "launch.sh ended with $code instead of $expected"; }
}

train 0 '' --run.dir="$scratch/whole"
case $case in
  gradient)
    train 0 $kind --run.dir="$scratch/silent"
    losses "$scratch/whole" >"$scratch/right"
    losses "$scratch/silent" >"$scratch/wrong"
    ! cmp -s "$scratch/right" "$scratch/wrong" || fail "the flipped bit changed nothing"
    ;;
  weight)
    train 69 $kind --run.dir="$scratch/noticed"
    grep -q "differs from that of the others; nothing was saved since" "$scratch/out.log" || { show; fail "a save did not notice"; }
    ;;
esac

train 69 $kind --train.audit_every=$audits
grep 'error:' "$scratch/out.log" | sed 's/^[^e]*error: //'
[ "$(grep -c 'error:' "$scratch/out.log")" = 1 ] || { show; fail "not one message"; }
grep 'error:' "$scratch/out.log" | grep -q "rank $victim on $host" || { show; fail "the message names somebody else"; }
for ((rank = 0; rank < ranks; ++rank)); do
  for words in '"code":69' "\"peer\":$victim[,}]" "\"peer_host\":\"$host\"" '"reason":"wrong"'; do
    grep -q "$words" "$run/causes/1.$rank.json" || { show; fail "the record of rank $rank does not say $words"; }
  done
done
grep -qx "lost=$host" "$scratch/outcome" || { cat "$scratch/outcome" >&2; fail "the host is not among the lost"; }
train 0 '' --train.audit_every=$audits
same_losses "$run" "$scratch/whole"
grep -q '"audit_ms"' "$run/metrics.jsonl" || { show; fail "metrics.jsonl has no audit_ms"; }
kept
