# Shared by the fault tests of the whole program: a job that takes a moment, its undisturbed result, and the check that
# a start after a fault comes back to it.  A test script starts with:  . "$(dirname "$0")/lib.sh"
# and is called with the program and libfaultio.so as first arguments.
# Memory where possible: these tests are about order and errors, not about a disk.
if [ -w /dev/shm ]; then export TMPDIR=/dev/shm; fi
. "$(dirname "$0")/../e2e/lib.sh"
library=$2
# One rank has nobody to meet: Open MPI need not start a daemon beside it, which takes longer than the whole job.
export OMPI_MCA_ess_singleton_isolated=1
# Of a build with sanitizers, where the library is not the first; beside what scripts/sanitize.sh asks for.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0"
job="--model.layers=1 --model.width=16 --model.heads=2 --model.context=16 --train.batch=4 --optimizer.schedule=constant
  --checkpoint.every_steps=2 --checkpoint.keep=2"
last=8

# mesh RANKS: how so many ranks are arranged.
mesh() {
  case $1 in
    1) echo "" ;;
    2) echo "--parallel.tensor=2" ;;
    4) echo "--parallel.tensor=2 --parallel.pipeline=1 --parallel.data=2 --parallel.zero=1" ;;
    *) fail "no mesh for $1 ranks" ;;
  esac
}

# job RUN RANKS STEPS LOG [VARIABLE=VALUE...]: the training in that run directory; its exit code.  Variables are set for
# the ranks only; $job_limit seconds, if that is set.
job() {
  run_=$1 ranks_=$2 steps_=$3 log_=$4
  shift 4
  # One rank needs no launcher, which is most of what a short job takes.
  launch="$repo/tests/mpirun.sh $ranks_"
  [ "$ranks_" -gt 1 ] || launch=
  # shellcheck disable=SC2046,SC2086
  timeout -k 5 "${job_limit:-100}" $launch env "$@" "$banyan" train "$scratch/c.ini" $job $(mesh "$ranks_") --run.dir="$run_" \
    --train.steps="$steps_" > "$log_" 2>&1
}

# prepare RANKS: $scratch/template/run holds the commits of steps 2 and 4, $scratch/whole/run the undisturbed job.
prepare() {
  dataset "$scratch/tokens.h5"
  config "$scratch/c.ini" gpt2 "$scratch/unused"
  mkdir "$scratch/template"
  job "$scratch/template/run" "$1" 4 "$scratch/out.log" || { cat "$scratch/out.log" >&2; fail "the first half"; }
  cp -r "$scratch/template" "$scratch/whole"
  job "$scratch/whole/run" "$1" $last "$scratch/out.log" || { cat "$scratch/out.log" >&2; fail "the second half"; }
  losses "$scratch/whole/run" > "$scratch/whole.losses"
  digest_of "$scratch/whole/run" > "$scratch/whole.digest"
  [ "$(wc -l < "$scratch/whole.losses")" = $last ] || fail "the undisturbed job lacks steps"
}

digest_of() { "$banyan" inspect --digest "$1" | grep '^digest '; }

# recovers RUN RANKS STEP: the next start goes on from STEP or later, ends, and has the losses and the values of the
# undisturbed job.  Prints what is wrong, if anything.
recovers() {
  recover_log=$1.recover.log
  code_=0
  job "$1" "$2" $last "$recover_log" || code_=$?
  [ $code_ = 0 ] || { echo "the next start ended with $code_: $(grep -m 1 'error' "$recover_log")"; return; }
  from_=$(sed -n 's/.*resuming after step \([0-9]*\).*/\1/p; s/.*the checkpoint has \([0-9]*\) steps.*/\1/p' "$recover_log" | head -n 1)
  [ "${from_:-0}" -ge "$3" ] || { echo "the next start went on from step ${from_:-0}, $3 was acknowledged"; return; }
  tr -d '\000' < "$1/metrics.jsonl" > "$1/metrics.text"
  mv "$1/metrics.text" "$1/metrics.jsonl"
  losses "$1" > "$1.losses"
  # What a power cut takes from the log of steps before the checkpoint is nobody's promise; whatever is there is right.
  awk -v from="${from_:-0}" -v last=$last 'NR == FNR { whole[$1] = $2; next } { have[$1] = 1; if (whole[$1] != $2) print "step " $1 " has loss " $2 " instead of " whole[$1] }
    END { for (i = from + 1; i <= last; ++i) if (!(i in have)) print "step " i " is missing" }' \
    "$scratch/whole.losses" "$1.losses" > "$1.wrong"
  [ ! -s "$1.wrong" ] || { head -n 1 "$1.wrong"; return; }
  digest_of "$1" > "$1.digest"
  cmp -s "$1.digest" "$scratch/whole.digest" || { echo "the values at the end differ"; return; }
  left_=$(ls -A "$1/ckpt" | grep -e '\.tmp$' -e '^\.trash' || true)
  [ -z "$left_" ] || echo "left behind: $left_"
}
