#!/bin/bash
# pruned.sh BANYAN LIBFAULTIO STRIDE: whoever reads a run directory while a training goes on in it is stopped in a call on its
# checkpoints, the 1st, the 1 + STRIDE th, ... of each kind, until there are four steps more and what it was reading has been
# removed.  It then ends with 0 and what the checkpoint before or the one after gives, never with anything else.
. "$(dirname "$0")/lib.sh"
stride=$3
prepare 1
readers="eval eval2 generate export resume inspect"
ask="--model.layers=1 --model.width=16 --model.heads=2 --model.context=16"
# read_by WHAT [COMMAND...]: a reader's command under `env` and what else COMMAND is; its answer in $scratch/answer.
read_by() {
  what=$1
  shift
  rm -rf "$scratch/export" "$scratch/other"
  # shellcheck disable=SC2086
  case $what in
    eval) "$@" "$banyan" eval "$scratch/c.ini" $ask --run.dir="$run" >"$scratch/said" && grep '^loss' "$scratch/said" >"$scratch/answer" ;;
    eval2) "$repo/tests/mpirun.sh" 2 "$@" "$banyan" eval "$scratch/c.ini" $ask --parallel.tensor=2 --run.dir="$run" >"$scratch/said" && grep '^loss' "$scratch/said" >"$scratch/answer" ;;
    generate) "$@" "$banyan" generate "$scratch/c.ini" $ask --run.dir="$run" --prompt="the river" --generate.tokens=8 >"$scratch/answer" ;;
    export) "$@" "$banyan" export "$run" --out "$scratch/export" && md5sum <"$scratch/export/model.safetensors" >"$scratch/answer" ;;
    # Another training that begins where this one is: it ends as this one does.
    resume) "$@" "$banyan" train "$scratch/c.ini" $job --run.dir="$scratch/other" --checkpoint.resume="$run" --train.steps=$last >"$scratch/said" &&
      digest_of "$scratch/other" >"$scratch/answer" ;;
    inspect) "$@" "$banyan" inspect "$run" --verify >/dev/null && echo fine >"$scratch/answer" ;;
  esac
}
answers() { # answers NAME: what all readers say about $run.
  for what in $readers; do
    read_by $what env 2>"$scratch/err" || { cat "$scratch/err" >&2; fail "$what of the undisturbed run"; }
    mv "$scratch/answer" "$scratch/$what.$1"
  done
}
run=$scratch/template/run
answers before
run=$scratch/whole/run
answers after
if cmp -s "$scratch/eval.before" "$scratch/eval.after"; then fail "all checkpoints are alike: this test sees nothing"; fi

run=$scratch/lane/run faults=0 broken=0
# one WHAT CALL N: false when the call was not reached.
one() {
  rm -rf "$scratch/lane" "$scratch/reached"
  mkdir -p "$scratch/lane/pids"
  cp -r "$scratch/template/run" "$run"
  rank=0
  if [ "$1" = eval2 ]; then rank=1; fi
  read_by "$1" env LD_PRELOAD="$library" FAULT="$2:$3:stop" FAULT_RANK=$rank FAULT_UNDER="$run/ckpt" \
    FAULT_REACHED="$scratch/reached" FAULT_PIDS="$scratch/lane/pids" 2>"$scratch/err" &
  reader=$!
  until [ -e "$scratch/reached" ]; do
    kill -0 $reader 2>/dev/null || { wait $reader || fail "$1 ended by itself: $(cat "$scratch/err")"; return 1; }
    sleep 0.02
  done
  job "$run" 1 $last "$scratch/out.log" || { cat "$scratch/out.log" >&2; fail "the training"; }
  [ ! -e "$run/ckpt/step-000000004.e1" ] || fail "nothing was removed: this test sees nothing"
  sleep 0.1  # a stop is sent to oneself; it may take effect after the file is there
  for pid in $(ls "$scratch/lane/pids"); do kill -CONT "$pid" 2>/dev/null || true; done
  code=0
  wait $reader || code=$?
  faults=$((faults + 1))
  if [ $code != 0 ] || { ! cmp -s "$scratch/answer" "$scratch/$1.before" && ! cmp -s "$scratch/answer" "$scratch/$1.after"; }; then
    broken=$((broken + 1))
    echo "BROKEN $1 at $2 $3: exit code $code, $(head -n 1 "$scratch/answer"), $(tail -n 3 "$scratch/err")"
  fi
}
for what in $readers; do
  for call in open pread; do
    n=1
    while one $what $call $n; do n=$((n + stride)); done
  done
done
echo "$faults faults injected, $broken promises broken"
[ $faults -gt 8 ] && [ $broken = 0 ]
