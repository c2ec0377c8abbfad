#!/bin/bash
# link_down.sh BANYAN TRANSPORT: one of four hosts falls off the network in the middle of training.  Every rank that is left ends
# within the timeout and writes down whom it missed; scripts/launch.sh ends with 69.
. "$(dirname "$0")/box.sh"
box_up
TMPDIR=$BOX
. "$(dirname "$0")/../e2e/lib.sh"
box_guard

dataset "$scratch/tokens.h5"
config "$scratch/config.ini" gpt "$scratch/run"
BANYAN_LAUNCH_ARGS="--host n1,n2,n3,n4 --map-by node"
export BANYAN_LAUNCH_ARGS
export BANYAN_LAUNCH_GRACE=3
box_on n1 "$repo/scripts/launch.sh" -n 4 --mpirun -- "$banyan" train "$scratch/config.ini" --parallel.data=4 \
  --train.steps=100000 --comm.peer_timeout=3s --comm.host_transport="$2" >"$scratch/out.log" 2>&1 &
job=$!
for i in $(seq 300); do
  [ "$(losses "$scratch/run" 2>/dev/null | wc -l)" -ge 5 ] && break
  kill -0 $job 2>/dev/null || { cat "$scratch/out.log" >&2; fail "training ended by itself"; }
  sleep 0.1
done
box_link n3 down
began=$(date +%s)
code=0
wait $job || code=$?
show() { cat "$scratch/out.log" "$scratch"/run/causes/1.*.json >&2; }
[ $code = 69 ] || { show; fail "launch.sh ended with $code instead of 69"; }
echo "ended $(($(date +%s) - began)) s after the link went down"

# Rank 2 sits on n3.  The others name it, its host and what they waited for; one line says so on the terminal.
for rank in 0 1 3; do
  record=$scratch/run/causes/1.$rank.json
  [ -e "$record" ] || { show; fail "rank $rank left without a word"; }
  for words in '"code":69' 'rank 2 on n3' '"waiting_for":"[^"]'; do
    grep -q "$words" "$record" || { show; fail "the record of rank $rank does not say $words"; }
  done
done
[ "$(grep -c 'error:' "$scratch/out.log")" = 1 ] || { show; fail "not one message"; }
