#!/bin/bash
# sweep.sh BANYAN LIBRARY RANKS[+nodes] CALL:ACTION:STRIDE[:RANK]...: a job that resumes, trains and saves twice, again and again,
# each time with another call going wrong: the 1st, the 1 + STRIDE th, ... until the program makes no more of that kind
# (libfaultio.cpp says what CALL and ACTION may be; RANK: whose calls are meant, default 0).  After each fault:
#   killed   the job ended
#   errors   it went on to its end with the right losses, or ended with 74; for what forbids writing also with 78
#   always   the next start goes on from the last acknowledged save or later, and ends with the losses and the values of
#            the undisturbed job, leaving nothing behind
# With +nodes saves come into the run directory by way of node-local ones, which stay when a rank is killed.
# A CALL that is never made fails the test.
. "$(dirname "$0")/lib.sh"
ranks=${3%+nodes} by_nodes=
# The save that is due next sees to it that the one before is being copied, and the last one waits for that.
[ "$ranks" = "$3" ] || by_nodes=yes last=10
shift 3
lanes=4
[ "$ranks" = 1 ] || lanes=2
prepare "$ranks"
missed=
plain=$job

# verdict ACTION CODE RUN: what is wrong with the job that met the fault, if anything.
verdict() {
  case $1:$2 in
    *:124) echo "it hung" ;;
    kill*:0) echo "it was not noticed" ;;
    kill*:*) ;;
    *:0)
      [ -z "$by_nodes" ] || grep -q 'saved step-[^ ]* from the nodes' "$3.log" || echo "nothing was copied from the nodes"
      losses "$3" | cmp -s - "$scratch/whole.losses" || echo "it went on with other losses"
      [ -z "$(ls "$3/ckpt" | grep '\.tmp$')" ] || echo "it left an unfinished checkpoint" ;;
    *:74 | EACCES:78 | EROFS:78)
      grep -q 'error' "$3.log" || echo "it ended without a word" ;;
    *) echo "it ended with $2: $(grep -m 1 error "$3.log")" ;;
  esac
}

# one CALL ACTION N RANK: a fault and the start after it; false when it was not reached.
one() {
  fault=$1:$3:$2 run=$scratch/lane$lane/run under=$scratch/lane$lane/run
  # What is written beside the checkpoints is not read back.
  if [ "$2" = flip ]; then under=$run/ckpt; fi
  rm -rf "$scratch/lane$lane"
  mkdir -p "$scratch/lane$lane/pids" "$scratch/lane$lane/local"
  [ -z "$by_nodes" ] || job="$plain --checkpoint.local=$scratch/lane$lane/local --checkpoint.local_every=1"
  cp -r "$scratch/template/run" "$run"
  code=0
  job "$run" "$ranks" $last "$run.log" LD_PRELOAD="$library" FAULT_UNDER="$under" FAULT="$fault" FAULT_RANK="$4" \
    FAULT_PIDS="$scratch/lane$lane/pids" FAULT_REACHED="$run.reached" || code=$?
  if [ ! -e "$run.reached" ]; then
    [ $code = 0 ] || echo "BROKEN $ranks ranks, $fault, not reached: ended with $code: $(grep -m 1 error "$run.log")" >> "$scratch/results.$lane"
    return 1
  fi
  acknowledged=$(sed -n 's/.*saved step-0*\([1-9][0-9]*\)\.e.*/\1/p' "$run.log" | sort -n | tail -n 1)
  wrong=$(verdict "$2" $code "$run")
  wrong=$wrong${wrong:+; }$(recovers "$run" "$ranks" "${acknowledged:-4}")
  if [ -n "$wrong" ]; then
    echo "BROKEN $ranks ranks, $fault of rank $4, exit code $code: $wrong" >> "$scratch/results.$lane"
    mkdir -p "$scratch/broken"
    cat "$run.log" "$run.recover.log" > "$scratch/broken/$fault.$4"
  else
    echo "ok $fault $code" >> "$scratch/results.$lane"
  fi
}

for what in "$@"; do
  IFS=: read -r call action stride rank <<< "$what"
  for lane in $(seq 0 $((lanes - 1))); do
    : > "$scratch/results.$lane"
    (n=$((1 + lane * stride))
     while one "$call" "$action" $n "${rank:-0}"; do n=$((n + lanes * stride)); done) 2> "$scratch/err.$lane" &
  done
  wait
  cat "$scratch"/results.? > "$scratch/results"
  cat "$scratch/results" >> "$scratch/all"
  # A sweep that meets no call at all has seen nothing: the call is not made any more, or the library is not loaded.
  faults=$(grep -vc 'not reached' "$scratch/results" || true)
  [ "$faults" -gt 0 ] || missed="$missed $what"
  printf '%s ranks, %s %s, every %s, rank %s: %s faults, %s ended with 0, %s promises broken\n' "$ranks" "$call" \
    "$action" "$stride" "${rank:-0}" "$faults" "$(grep -c '^ok .* 0$' "$scratch/results")" \
    "$(grep -c ^BROKEN "$scratch/results")"
done
broken=$(grep -c ^BROKEN "$scratch/all" || true)
grep ^BROKEN "$scratch/all" || true
[ "$broken" = 0 ] || { head -n 40 "$scratch"/broken/* | cut -c 1-300; cat "$scratch"/err.?; }
echo "$(grep -vc 'not reached' "$scratch/all") faults injected, $broken promises broken"
[ -z "$missed" ] || fail "never reached:$missed"
[ "$broken" = 0 ]
