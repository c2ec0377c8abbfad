#!/bin/bash
# mpi_calls.sh BANYAN LIBRARY TRANSPORT CALL:ACTION:FIRST:STRIDE[:RANK]...: four ranks start to train, again and again, each
# time with another call of one of them into MPI or UCX going wrong: number FIRST, FIRST + STRIDE ... until the program
# makes no more of that kind (libfaultmpi.cpp says what CALL and ACTION may be; RANK: default 2).  On one host that is the
# start: afterwards the ranks talk through memory.  After each fault:
#   - scripts/launch.sh ends with 69 within its limits, and nothing of the job is left
#   - one message says so: of a rank, or of launch.sh where no rank can speak yet
# or it trains to the end: what is lost while leaving is not missed, and what was stopped may go on when it is told to end.
# The start after the last fault trains.
. "$(dirname "$0")/../e2e/lib.sh"
library=$2 transport=$3
shift 3
run=$scratch/run
dataset "$scratch/tokens.h5"
config "$scratch/c.ini" gpt "$run"
patience=60 # seconds for a start; a rank that is silent before the others can name it ends with it
limit=$((patience + 25))

# start [VARIABLE=VALUE...]: the job under launch.sh; its exit code in $code, what it said in $scratch/out.log.
start() {
  rm -rf "$run"
  code=0
  env "$@" BANYAN_LAUNCH_GRACE=3 BANYAN_LAUNCH_PATIENCE=$patience timeout -k 5 100 "$repo/scripts/launch.sh" -n 4 --mpirun -- \
    "$banyan" train "$scratch/c.ini" --parallel.pipeline=2 --parallel.data=2 --train.steps=5 --comm.peer_timeout=10s \
    --comm.host_transport="$transport" --run.dir="$run" >"$scratch/out.log" 2>&1 || code=$?
}

# verdict CODE SECONDS: what is wrong with how it ended, if anything.
verdict() {
  local errors
  if [ "$1" = 0 ] && grep -q 'finished after 5 steps' "$scratch/out.log"; then return; fi
  errors=$(grep -c 'error:' "$scratch/out.log" || true)
  [ "$1" = 69 ] || echo "it ended with $1"
  [ "$2" -le $limit ] || echo "it took $2 s"
  [ "$errors" = 1 ] || { [ "$errors" = 0 ] && grep -q '^launch: ' "$scratch/out.log"; } || echo "$errors messages"
  for _ in $(seq 50); do pgrep -f -- "--run.dir=$run" >/dev/null || return 0; sleep 0.1; done
  echo "a process is left"
}

faults=0 broken=0
trap 'pkill -KILL -f -- "--run.dir=$run" || true; rm -rf "$scratch"' EXIT
for what in "$@"; do
  IFS=: read -r call action n stride rank <<<"$what"
  had=$faults named=0
  while :; do
    rm -f "$scratch/reached"
    began=$SECONDS
    start LD_PRELOAD= FAULT="$call:$n:$action" FAULT_RANK="${rank:-2}" FAULT_REACHED="$scratch/reached" \
      BANYAN_LAUNCH_ARGS="-x FAULT -x FAULT_RANK -x FAULT_REACHED -x LD_PRELOAD=$library"
    [ -e "$scratch/reached" ] || break
    wrong=$(verdict $code $((SECONDS - began)) | paste -sd ';')
    faults=$((faults + 1)) n=$((n + stride))
    if grep -q "error:.*rank ${rank:-2} on" "$scratch/out.log"; then named=$((named + 1)); fi
    if [ -n "$wrong" ]; then
      broken=$((broken + 1))
      echo "BROKEN $call:$((n - stride)):$action of rank ${rank:-2}: $wrong"
      head -n 20 "$scratch/out.log"
      pkill -KILL -f -- "--run.dir=$run" || true
    fi
  done
  echo "$call $action, every $stride of rank ${rank:-2}: $((faults - had)) faults, in $named of them the message names the rank"
  # Not reached: nothing may have happened.
  [ $code = 0 ] || { cat "$scratch/out.log"; fail "without a fault it ended with $code"; }
done
echo "$faults faults injected, $broken promises broken"
[ $broken = 0 ]
