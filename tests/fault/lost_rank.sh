#!/bin/bash
# lost_rank.sh BANYAN TRANSPORT MESH SIGNAL RANK: one of four ranks is killed or stopped in the middle of training, in its
# all-reduces (MESH = data) or in the steps of its pipeline (MESH = pipeline); lost_lib.sh says what must come of it.
. "$(dirname "$0")/../e2e/lib.sh"
. "$repo/tests/fault/lost_lib.sh"
signal=$4 victim=$5
trap 'kill -KILL ${process:-} ${job:-} 2>/dev/null || true; rm -rf "$scratch"' EXIT
lose_one_of "$2" "$3"
process=$(rank_process "$victim")
kill -"$signal" "$process"
lost "$victim" "$(hostname)" .
# A stopped rank is found by its silence; its neighbours know how far it was.
[ "$signal" = KILL ] || grep -q 'last heard of .* s ago, at step [0-9]*, microbatch [0-9]' "$scratch/out.log" ||
  { show_lost; fail "the message does not say where rank $victim was"; }
kept
