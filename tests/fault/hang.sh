#!/bin/bash
# hang.sh BANYAN LIBHANG TRANSPORT CASE [LIBFAULTIO]: what a watchdog finds.
#   compute, compute0   rank 2 (0) hangs in a matrix product: its own watchdog ends the job, and all ranks leave their stacks
#   evaluate   the same in an evaluation between two steps
#   silence    the same, but its neighbours lose patience first: it still leaves its stacks
#   inside     rank 2 hangs in a call of the MPI library, holding what its watchdog would tell the others with
#   slow       rank 2 takes longer in every matrix product: it is reported, once, and training goes on
#   pause      a rank is stopped for a while within the limits: no alarm, and the same losses
#   save, load rank 2 is stopped in a write (a read) of a checkpoint: the others lose it long before they give the storage up
#   disk       a write takes longer than any limit on silence, then comes back: no alarm, and the same losses
#   reading    eval and generate on one rank, which hangs in a matrix product
. "$(dirname "$0")/../e2e/lib.sh"
. "$(dirname "$0")/counted.sh"
libhang=$2 transport=$3 case=$4 libfaultio=${5:-}
run=$scratch/run host=$(hostname) victim=2
dataset "$scratch/tokens.h5"
config "$scratch/config.ini" gpt "$run"
export BANYAN_LAUNCH_GRACE=5
each='' where='' phase=step more='' limits='--comm.peer_timeout=30s --run.watchdog=2s' function=dnnl_sgemm
case $case in
  compute0) victim=0 ;;
  evaluate) where=evaluate phase=evaluate more='--train.eval_every=2 --train.eval_batches=2' ;;
  silence) limits='--comm.peer_timeout=2s --run.watchdog=60s' ;;
  slow) each=10000 ;;
  inside) function=MPI_Testsome ;;
  pause) limits='--comm.peer_timeout=5s --run.watchdog=2s' ;;
  save | load | disk) limits='--comm.peer_timeout=2s --run.watchdog=2s' ;;
  reading) limits='--run.watchdog=0.2s' ;;
esac
train() { # train ARG...: in the background, $job
  # shellcheck disable=SC2086
  HANG=$function HANG_RANK=$victim HANG_WHEN=$scratch/now HANG_FOR=$each HANG_IN=$where \
    BANYAN_LAUNCH_ARGS="-x HANG -x HANG_IN -x HANG_RANK -x HANG_WHEN -x HANG_FOR -x LD_PRELOAD=$libhang" \
    "$repo/scripts/launch.sh" -n 4 --mpirun -- "$banyan" train "$scratch/config.ini" --parallel.pipeline=2 \
    --parallel.data=2 --comm.host_transport="$transport" $limits $more "$@" >"$scratch/out.log" 2>&1 &
  job=$!
}
show() {
  cat "$scratch/out.log" "$run"/causes/1.*.json >&2
  head -n 60 "$run"/stacks/* >&2 || true
}
trap 'kill -KILL ${pid:-} ${job:-} 2>/dev/null || true; rm -rf "$scratch"' EXIT
at_step() { # waits until so many steps are done
  for _ in $(seq 900); do
    [ "$(grep -c '"loss"' "$run/metrics.jsonl" 2>/dev/null || true)" -ge "$1" ] 2>/dev/null && return
    kill -0 $job 2>/dev/null || { show; fail "training ended by itself"; }
    sleep 0.1
  done
  show
  fail "no $1 steps"
}
ends_with() {
  code=0
  wait $job || code=$?
  [ $code = "$1" ] || { show; fail "launch.sh ended with $code instead of $1"; }
}

if [ "$case" = reading ]; then
  "$banyan" train "$scratch/config.ini" --train.steps=2 --optimizer.warmup=1 >"$scratch/out.log" 2>&1 || { show; fail "training"; }
  touch "$scratch/now"
  head -c 120 "$scratch/text.txt" >"$scratch/prompt"  # more rows than the product for few takes
  for command in eval "generate --prompt-file=$scratch/prompt --generate.tokens=4"; do
    injected
    code=0
    # shellcheck disable=SC2086
    HANG=$function HANG_RANK=0 HANG_WHEN=$scratch/now LD_PRELOAD=$libhang timeout 60 "$banyan" ${command%% *} \
      "$scratch/config.ini" ${command#"${command%% *}"} $limits >"$scratch/out.log" 2>&1 || code=$?
    [ $code = 69 ] || { show; fail "$command ended with $code instead of 69"; }
    grep -q "error: rank 0 on $host: it hangs: no sign of life for " "$scratch/out.log" || { show; fail "$command does not say why"; }
    grep -q "#[0-9]* 0x[0-9a-f]* $function+0x" "$scratch/out.log" || { show; fail "$command does not show where it hangs"; }
  done
  [ "$(ls "$run/causes")" = "$(printf '1.0.json\n1.json')" ] && [ ! -e "$run/stacks" ] || { ls "$run"/* >&2; fail "something was written into the run"; }
  kept
  exit 0
fi

if [ "$case" = save ] || [ "$case" = load ] || [ "$case" = disk ]; then
  fault=pwrite:1:stop
  if [ "$case" = disk ]; then fault=pwrite:1:pause; fi
  if [ "$case" = load ]; then
    must 0 4 train "$scratch/config.ini" --parallel.data=4 --train.steps=4 --comm.host_transport="$transport"
    fault=pread:1:stop
  fi
  code=0 began=$(date +%s)
  # shellcheck disable=SC2086
  FAULT=$fault FAULT_RANK=$victim FAULT_UNDER=$run/ckpt FAULT_REACHED=$scratch/reached FAULT_PIDS=$scratch BANYAN_LAUNCH_GRACE=3 \
    BANYAN_LAUNCH_ARGS="-x FAULT -x FAULT_RANK -x FAULT_UNDER -x FAULT_REACHED -x LD_PRELOAD=$libfaultio" timeout 90 \
    "$repo/scripts/launch.sh" -n 4 --mpirun -- "$banyan" train "$scratch/config.ini" --parallel.data=4 --train.steps=8 \
    --comm.host_transport="$transport" $limits >"$scratch/out.log" 2>&1 || code=$?
  echo "ended with $code after $(($(date +%s) - began)) s"
  [ -e "$scratch/reached" ] || { show; fail "no call was hit"; }
  injected
  if [ "$case" = disk ]; then
    [ $code = 0 ] && [ ! -e "$run/stacks" ] || { show; fail "a disk that was slow once ended the job with $code"; }
    must 0 4 train "$scratch/config.ini" --parallel.data=4 --train.steps=8 --run.dir="$scratch/whole" \
      --comm.host_transport="$transport"
    same_losses "$run" "$scratch/whole"
    kept
    exit 0
  fi
  [ $code = 69 ] || { show; fail "launch.sh ended with $code instead of 69"; }
  [ "$(grep -c 'error:' "$scratch/out.log")" = 1 ] || { show; fail "not one message"; }
  grep 'error:' "$scratch/out.log" | grep -q "rank $victim on $host" || { show; fail "the message names somebody else"; }
  grep -q "\"waiting_for\":\"[^\"]*(in $case" "$run"/causes/*.0.json || { show; fail "the record of rank 0 does not say where it waited"; }
  kept
  exit 0
fi

if [ "$case" = pause ]; then
  train --train.steps=120
  at_step 5
  pid=''
  for p in $(pgrep -f "train $scratch/config.ini"); do
    tr '\0' '\n' <"/proc/$p/environ" 2>/dev/null | grep -qx "\(OMPI_COMM_WORLD_RANK\|PMI_RANK\)=$victim" && pid=$p
  done
  [ -n "$pid" ] || fail "there is no rank $victim"
  before=$(losses "$run" | wc -l)
  injected
  kill -STOP "$pid"
  sleep 3.5  # longer than run.watchdog, shorter than comm.peer_timeout
  kill -CONT "$pid"
  [ "$before" -lt 120 ] || fail "the pause came too late"
  ends_with 0
  if [ -e "$run/stacks" ] || grep -q ' hangs\|is slow' "$scratch/out.log"; then show; fail "there was an alarm"; fi
  must 0 4 train "$scratch/config.ini" --parallel.pipeline=2 --parallel.data=2 --train.steps=120 --run.dir="$scratch/whole" \
    --comm.host_transport="$transport"
  same_losses "$run" "$scratch/whole"
  kept
  exit 0
fi

if [ "$case" = slow ]; then
  injected
  touch "$scratch/now"
  train --train.steps=40
  ends_with 0
  [ "$(grep -c "rank $victim on $host is slow" "$scratch/out.log")" = 1 ] || { show; fail "it is not in the log, once"; }
  [ "$(grep -c "\"straggler\": $victim, \"straggler_host\": \"$host\", \"straggler_factor\": [1-9]" "$run/metrics.jsonl")" = 1 ] ||
    { show; fail "it is not in metrics.jsonl, once"; }
  [ ! -e "$run/stacks" ] || { show; fail "there was an alarm"; }
  kept
  exit 0
fi

train --train.steps=1000000
at_step 5
injected
touch "$scratch/now"
began=$(date +%s)
ends_with 69
took=$(($(date +%s) - began))
echo "ended $took s after rank $victim began to hang"
[ $took -le 30 ] || { show; fail "it took $took s"; }
for rank in 0 1 2 3; do
  record=$run/causes/1.$rank.json stacks=$run/stacks/1.$rank.txt
  [ -e "$record" ] || { show; fail "rank $rank left without a word"; }
  for words in '"code":69' "\"peer\":$victim[,}]" "\"peer_host\":\"$host\"" '"step":[0-9]'; do
    grep -q "$words" "$record" || { show; fail "the record of rank $rank does not say $words"; }
  done
  # Who is told that a process ended has nothing to show.
  if [ $case = inside ] && [ $rank != "$victim" ]; then continue; fi
  [ -e "$stacks" ] || { show; fail "no stacks of rank $rank"; }
  grep -q "^rank $rank on $host, step [0-9]*: " "$stacks" || { show; fail "the stacks of rank $rank have no heading"; }
  grep -q 'banyan::job::Watchdog::watch' "$stacks" || { show; fail "rank $rank shows not all threads"; }
  grep -q 'banyan::train::train(' "$stacks" || { show; fail "rank $rank does not show its main thread"; }
  if [ $rank = "$victim" ]; then
    grep -q "#[0-9]* 0x[0-9a-f]* $function+0x" "$stacks" || { show; fail "the stacks do not show where rank $rank hangs"; }
  else
    grep -q "^  section: .*(in $phase)$" "$stacks" || { show; fail "the stacks of rank $rank do not say what it waits for"; }
  fi
done
[ "$(grep -c 'error:' "$scratch/out.log")" = 1 ] || { show; fail "not one message"; }
grep 'error:' "$scratch/out.log" | grep -q "rank $victim on $host" || { show; fail "the message names somebody else"; }
if [ "$case" = evaluate ]; then
  grep 'error:' "$scratch/out.log" | grep -q 'it hangs: no sign of life for [0-9.]* s in evaluate (limit' || { show; fail "the message does not say in what"; }
fi
kept
