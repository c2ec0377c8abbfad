#!/bin/bash
# mpi_calls.sh BANYAN LIBRARY TRANSPORT CALL:ACTION:FIRST:STRIDE[:RANK]...: four ranks start to train, again and again, each
# time with another call of one of them into MPI or UCX going wrong: number FIRST, FIRST + STRIDE ... until the program
# makes no more of that kind (libfaultmpi.cpp says what CALL and ACTION may be; RANK: default 2).  On one host that is the
# start: afterwards the ranks talk through memory.  After each fault:
#   - scripts/launch.sh ends with 69 within its limits (78 where UCX, asked for by name, cannot be begun), and nothing of the
#     job is left
#   - one message says so: of a rank, or of launch.sh where no rank can speak yet
# or it trains to the end: what is lost while leaving is not missed, and what was stopped may go on when it is told to end.
# The start after the last fault trains.  Of a sweep with small strides several jobs go on at a time: most of each is waiting.
. "$(dirname "$0")/../e2e/lib.sh"
library=$2 transport=$3
shift 3
dataset "$scratch/tokens.h5"
config "$scratch/c.ini" gpt "$scratch/unused"
patience=60 # seconds for a start; a rank that is silent before the others can name it ends with it
limit=$((patience + 120 + 25)) # in its first step it may be silent for two minutes

# start [VARIABLE=VALUE...]: the job of this lane under launch.sh; its exit code in $code, what it said in $out.
start() {
  rm -rf "$run"
  code=0
  env "$@" BANYAN_LAUNCH_GRACE=3 BANYAN_LAUNCH_PATIENCE=$patience timeout -k 5 $((limit + 30)) "$repo/scripts/launch.sh" -n 4 --mpirun -- \
    "$banyan" train "$scratch/c.ini" --parallel.pipeline=2 --parallel.data=2 --train.steps=5 --comm.peer_timeout=10s \
    --comm.host_transport="$transport" --run.dir="$run" >"$out" 2>&1 || code=$?
}

# verdict CODE SECONDS: what is wrong with how it ended, if anything.
verdict() {
  local errors
  if [ "$1" = 0 ] && grep -q 'finished after 5 steps' "$out"; then return; fi
  errors=$(grep -c 'error:' "$out" || true)
  # A job that asks for UCX by name is refused where a rank has none.
  [ "$1" = 69 ] || { [ "$1" = 78 ] && grep -q "transport = ucx, but rank $rank on .* cannot start UCX" "$out"; } || echo "it ended with $1"
  [ "$2" -le $limit ] || echo "it took $2 s"
  [ "$errors" = 1 ] || { [ "$errors" = 0 ] && grep -q '^launch: ' "$out"; } || echo "$errors messages"
  for _ in $(seq 50); do pgrep -f -- "--run.dir=$run" >/dev/null || return 0; sleep 0.1; done
  echo "a process is left"
}

# one CALL ACTION N RANK: a fault, whose verdict goes into the results of this lane; false when it was not reached.
one() {
  local began=$SECONDS reached=$scratch/lane$lane/reached wrong
  rm -f "$reached"
  start LD_PRELOAD= FAULT="$1:$3:$2" FAULT_RANK="$4" FAULT_REACHED="$reached" \
    BANYAN_LAUNCH_ARGS="-x FAULT -x FAULT_RANK -x FAULT_REACHED -x LD_PRELOAD=$library"
  if [ ! -e "$reached" ]; then
    # Nothing may have happened.
    [ $code = 0 ] || { echo "BROKEN without a fault it ended with $code"; head -n 20 "$out"; } >>"$results"
    return 1
  fi
  wrong=$(verdict $code $((SECONDS - began)) | paste -sd ';')
  echo "fault $(grep -c "error:.*rank $4 on" "$out")" >>"$results"
  if [ -n "$wrong" ]; then
    { echo "BROKEN $1:$3:$2 of rank $4: $wrong"; head -n 20 "$out"; } >>"$results"
    pkill -KILL -f -- "--run.dir=$run" || true
  fi
}

faults=0 broken=0 missed=
trap 'pkill -KILL -f -- "--run.dir=$scratch/lane" || true; rm -rf "$scratch"' EXIT
for what in "$@"; do
  IFS=: read -r call action first stride rank <<<"$what"
  rank=${rank:-2} lanes=4
  [ "$stride" -le 20 ] || lanes=1
  rm -f "$scratch"/results.*
  for lane in $(seq 0 $((lanes - 1))); do
    mkdir -p "$scratch/lane$lane"
    run=$scratch/lane$lane/run out=$scratch/lane$lane/out.log results=$scratch/results.$lane
    : >"$results"
    (trap - EXIT
     n=$((first + lane * stride))
     while one "$call" "$action" $n "$rank"; do n=$((n + lanes * stride)); done) &
  done
  wait
  cat "$scratch"/results.? >"$scratch/results"
  grep -v '^fault ' "$scratch/results" || true
  new=$(grep -c '^fault ' "$scratch/results" || true)
  faults=$((faults + new)) broken=$((broken + $(grep -c '^BROKEN' "$scratch/results" || true)))
  [ "$new" -gt 0 ] || missed="$missed $what"
  echo "$call $action, every $stride of rank $rank: $new faults, in $(grep -c '^fault [1-9]' "$scratch/results" || true) of them the message names the rank"
done
echo "$faults faults injected, $broken promises broken"
[ -z "$missed" ] || fail "never reached:$missed"
[ $broken = 0 ]
