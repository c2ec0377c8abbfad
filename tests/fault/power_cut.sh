#!/bin/bash
# power_cut.sh BANYAN LIBRARY REPLAY RANKS[+nodes] EVERY KEEP: records every call that changes files in two attempts of a job,
# loses the power after every EVERY-th of them in six ways (crash_replay.cpp), and starts the job from every KEEP-th of
# the states that this leaves.  With +nodes checkpoints come by way of node-local ones, which the power takes with it.
. "$(dirname "$0")/lib.sh"
replay=$3 ranks=${4%+nodes} every=$5 keep=$6
# The save that is due next sees to it that the one before is being copied, and the last one waits for that.
[ "$ranks" = "$4" ] || last=10
prepare "$ranks"
mkdir "$scratch/root" "$scratch/empty" "$scratch/states"
plain=$job
[ "$ranks" = "$4" ] || job="$job --checkpoint.local=$scratch/local --checkpoint.local_every=1"
mkdir "$scratch/local"
for steps in 4 $last; do
  job "$scratch/root/run" "$ranks" $steps "$scratch/out.log" LD_PRELOAD="$library" FAULT_UNDER="$scratch/root" \
    FAULT_TRACE="$scratch/trace" || { cat "$scratch/out.log" >&2; fail "the recorded job"; }
done
[ "$plain" = "$job" ] || grep -q 'saved step-000000006.e2 from the nodes' "$scratch/out.log" || fail "nothing was copied"
job=$plain
same_losses "$scratch/root/run" "$scratch/whole/run"
broken=0
# The harness itself: without the fsyncs in the trace promises must break, or it would see nothing.
"$replay" "$scratch/trace" "$scratch/empty" "$scratch/root" run 7 1000000 "$scratch/states" deaf > "$scratch/deaf" &&
  fail "a disk that never syncs went unnoticed"
echo "without fsync: $(tail -n 1 "$scratch/deaf")"
"$replay" "$scratch/trace" "$scratch/empty" "$scratch/root" run "$every" "$keep" "$scratch/states" \
  > "$scratch/replayed" || broken=1
cat "$scratch/replayed"
cuts=$(sed -n 's/.*: \([0-9]*\) crashes, .*/\1/p' "$scratch/replayed")
lost=$(sed -n 's/.* crashes, \([0-9]*\) promises broken$/\1/p' "$scratch/replayed")
[ "${lost:-0}" = 0 ] || broken=$lost
# In lanes, as most of a short job is waiting.
kept=$(find "$scratch/states" -maxdepth 1 -name '*.step' | wc -l)
[ "${cuts:-0}" -gt 0 ] && [ "$kept" -gt 0 ] ||
  fail "${cuts:-0} power cuts left $kept states to start from: this test sees nothing"
lanes=4
[ "$ranks" = 1 ] || lanes=2
for lane in $(seq $lanes); do
  (ls "$scratch"/states/*.step | sed -n "$lane~${lanes}p" | while read -r note; do
    state=${note%.step}
    echo "${state##*/}" >> "$scratch/started.$lane"
    wrong=$(recovers "$state/run" "$ranks" "$(cat "$note")" < /dev/null)
    [ -z "$wrong" ] || { echo "BROKEN: ${state##*/}: $wrong"; cat "$state/run.recover.log"; }
    rm -rf "$state"
  done) > "$scratch/starts.$lane" 2>&1 &
done
wait
cat "$scratch"/starts.?
broken=$((broken + $(cat "$scratch"/starts.? | grep -c '^BROKEN' || true)))
starts=$(cat "$scratch"/started.? | wc -l)
echo "$starts jobs started from what was left"
echo "$cuts faults injected, $broken promises broken"
[ "$starts" = "$kept" ] || fail "$kept jobs should have been started"
[ $broken = 0 ]
