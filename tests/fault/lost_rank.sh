#!/bin/bash
# lost_rank.sh BANYAN TRANSPORT MESH SIGNAL RANK: one of four ranks is killed or stopped in the middle of training, in its
# all-reduces (MESH = data) or in the steps of its pipeline (MESH = pipeline).  Every other rank ends within the timeout
# and writes down whom it missed, on which host and in what wait; scripts/launch.sh ends with 69.
. "$(dirname "$0")/../e2e/lib.sh"
transport=$2 signal=$4 victim=$5
case $3 in
  data) mesh="--parallel.data=4" ;;
  pipeline) mesh="--parallel.pipeline=2 --parallel.data=2" ;;
esac
dataset "$scratch/tokens.h5"
config "$scratch/config.ini" gpt "$scratch/run"
export BANYAN_LAUNCH_GRACE=3
# shellcheck disable=SC2086
"$repo/scripts/launch.sh" -n 4 --mpirun -- "$banyan" train "$scratch/config.ini" $mesh --train.steps=1000000 \
  --comm.peer_timeout=3s --comm.host_transport="$transport" >"$scratch/out.log" 2>&1 &
job=$!
stopped=''
cleanup() {
  [ -z "$stopped" ] || kill -KILL "$stopped" 2>/dev/null || true
  kill -KILL $job 2>/dev/null || true
  rm -rf "$scratch"
}
trap cleanup EXIT
losses_so_far() { grep -c '"loss"' "$scratch/run/metrics.jsonl" 2>/dev/null || true; }
for i in $(seq 600); do
  [ "$(losses_so_far)" -ge 5 ] 2>/dev/null && break
  kill -0 $job 2>/dev/null || { cat "$scratch/out.log" >&2; fail "training ended by itself"; }
  sleep 0.1
done
for pid in $(pgrep -f "train $scratch/config.ini"); do
  tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -qx "\(OMPI_COMM_WORLD_RANK\|PMI_RANK\)=$victim" && stopped=$pid
done
[ -n "$stopped" ] || fail "there is no rank $victim"
kill -"$signal" "$stopped"
began=$(date +%s)
code=0
wait $job || code=$?
took=$(($(date +%s) - began))
show() { cat "$scratch/out.log" "$scratch"/run/causes/1.*.json >&2; }
[ $code = 69 ] || { show; fail "launch.sh ended with $code instead of 69"; }
[ $took -le 30 ] || { show; fail "it took $took s"; }
echo "ended $took s after rank $victim got SIG$signal"
host=$(hostname)
for rank in 0 1 2 3; do
  [ $rank = "$victim" ] && continue
  record=$scratch/run/causes/1.$rank.json
  [ -e "$record" ] || { show; fail "rank $rank left without a word"; }
  for words in '"code":69' "rank $victim on $host" "\"peer\":$victim[,}]" '"waiting_for":"[^"]'; do
    grep -q "$words" "$record" || { show; fail "the record of rank $rank does not say $words"; }
  done
done
# A stopped rank is found by its silence; its neighbours know how far it was.
[ "$signal" = KILL ] || grep -q 'last heard of .* s ago, at step [0-9]*, microbatch [0-9]' "$scratch/out.log" ||
  { show; fail "the message does not say where rank $victim was"; }
[ "$(grep -c 'error:' "$scratch/out.log")" = 1 ] || { show; fail "not one message"; }
grep 'error:' "$scratch/out.log" | grep -q "rank $victim on $host" || { show; fail "the message names somebody else"; }
