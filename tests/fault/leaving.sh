#!/bin/bash
# leaving.sh BANYAN LIBHANG WAY...: one of four ranks leaves in the middle of a step.  The whole job ends within seconds,
# never as if it had succeeded, says which rank it was, and comes back to the losses of an undisturbed one.
#   segv, abort          a crash: 70, with the signal in the rank's own record
#   bad_alloc, throw     an exception: 78, 70
#   exit0, exit1         without a word: 69, whatever its exit code
#   mpi_abort            so that the launcher kills the rest: 69
#   node                 two ranks are killed at once: 69
. "$(dirname "$0")/../e2e/lib.sh"
. "$(dirname "$0")/counted.sh"
libhang=$2
shift 2
host=$(hostname) victim=2 last=24
dataset "$scratch/tokens.h5"
config "$scratch/config.ini" gpt "$scratch/run"
export BANYAN_LAUNCH_GRACE=3
trap 'kill -KILL ${job:-} 2>/dev/null || true; rm -rf "$scratch"' EXIT
show() { cat "$scratch/out.log" "$run"/causes/1.*.json >&2; }
# train WAY STEPS: in the background, $job
train() {
  HANG=dnnl_sgemm HANG_RANK=$victim HANG_WHEN=$scratch/now HANG_AS=$1 \
    BANYAN_LAUNCH_ARGS="-x HANG -x HANG_RANK -x HANG_WHEN -x HANG_AS -x LD_PRELOAD=$libhang" \
    "$repo/scripts/launch.sh" -n 4 --mpirun -- "$banyan" train "$scratch/config.ini" --parallel.pipeline=2 \
    --parallel.data=2 --run.dir="$run" --train.steps="$2" --checkpoint.every_steps=2 --optimizer.schedule=constant >"$scratch/out.log" 2>&1 &
  job=$!
}
run=$scratch/whole
train segv $last  # never due
wait $job || { show; fail "the undisturbed job"; }
for way in "$@"; do
  run=$scratch/$way want=69 words="rank $victim on $host"
  case $way in
    segv) want=70 words='died of SIGSEGV' ;;
    abort) want=70 words='died of SIGABRT' ;;
    bad_alloc) want=78 words='out of memory' ;;
    throw) want=70 words='thrown in the middle of a matrix product' ;;
  esac
  train "$way" 1000000
  for _ in $(seq 600); do
    [ "$(grep -c '"loss"' "$run/metrics.jsonl" 2>/dev/null || true)" -ge 3 ] 2>/dev/null && break
    kill -0 $job 2>/dev/null || { show; fail "$way: training ended by itself"; }
    sleep 0.1
  done
  injected
  began=$(date +%s)
  if [ "$way" = node ]; then
    for p in $(pgrep -f "train $scratch/config.ini"); do
      rank=$(tr '\0' '\n' <"/proc/$p/environ" 2>/dev/null | sed -n 's/^OMPI_COMM_WORLD_RANK=//p; s/^PMI_RANK=//p')
      [ "$rank" = 2 ] || [ "$rank" = 3 ] || continue
      kill -KILL "$p"
    done
    words='rank [23] on'
  else
    touch "$scratch/now"
  fi
  code=0
  wait $job || code=$?
  rm -f "$scratch/now"
  echo "$way: ended with $code after $(($(date +%s) - began)) s"
  [ $code = $want ] || { show; fail "$way: launch.sh ended with $code instead of $want"; }
  [ $(($(date +%s) - began)) -le 30 ] || { show; fail "$way: it took too long"; }
  # MPI_Abort leaves nobody the time to say anything.
  [ "$way" = mpi_abort ] || cat "$scratch/out.log" "$run"/causes/1.*.json | grep -q "$words" || { show; fail "$way: nobody says $words"; }
  train "" $last
  wait $job || { show; fail "$way: it does not come back"; }
  done_=$(tail -n 1 "$run/metrics.jsonl" | sed -n 's/.*"step": \([0-9]*\),.*/\1/p')
  losses "$run" | head -n $last >"$scratch/a.txt"
  losses "$scratch/whole" >"$scratch/b.txt"
  diff "$scratch/a.txt" "$scratch/b.txt" >&2 || fail "$way: other losses (the last step is $done_)"
done
kept
