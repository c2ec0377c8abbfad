#!/bin/bash
# survive.sh BANYAN CASE: jobs of scripts/slurm/train.sbatch that something happens to come back by themselves, or do not when
# somebody wanted them to end; the losses are those of a run that nothing happened to, to the last digit.
#   node    everything on a node dies in the middle of a step, on another one during a save; they are back later
#   head    everything on the node of the batch script and of rank 0 dies; Slurm notices by itself
#   limit   the job leaves before its time limit, without a warning of Slurm's; then somebody sends USR1
#   minute  the same with a time limit of Slurm's, which takes a minute
#   stop    banyan stop, scancel; going on with mpirun inside the allocation, and USR1 there
#   fewer   a node dies and stays dead: the job goes on with three, to losses within 1e-4
. "$(dirname "$0")/slurm.sh"
box_up
slurm_up || { echo "FAILED: Slurm does not start" >&2; exit 1; }
TMPDIR=$BOX
. "$(dirname "$0")/../e2e/lib.sh"
box_guard

run=$scratch/run config=$scratch/config.ini out=$BOX/job.out
dataset "$scratch/tokens.h5"
config "$config" gpt "$run"
mesh=(--parallel.data=2 --parallel.pipeline=2 --train.steps=250 --checkpoint.every_steps=20 --log.every=50)

broken() {
  { slurm_on squeue -h; cat "$out" "$run/ends.txt" "$run/attempts.jsonl"; tail -n 20 "$run/log.txt"; } >&2
  fail "$@"
}
# submit OPTION...: train.sbatch on the four nodes; the job's id in $job.
submit() {
  job=$(slurm_on env BANYAN_HOME="$repo" BANYAN="$banyan" BANYAN_LAUNCH_GRACE=5 BANYAN_BACKOFF="3 3 3 3" \
    OMPI_MCA_orte_tmpdir_base=/dev/shm OMPI_MCA_oob_tcp_if_include=eth0 sbatch --parsable -N4 -t 10 -D "$scratch" -o "$out" "$@" \
    "$repo/scripts/slurm/train.sbatch" "$config" "${mesh[@]}") ||
    fail "sbatch"
}
done_steps() { tail -n 1 "$run/metrics.jsonl" 2>/dev/null | sed -n 's/.*"step": \([0-9]*\),.*/\1/p' | grep . || echo 0; }
ended() { [ "$(cat "$run/ends.txt" 2>/dev/null | grep -c "action=$2")" -ge "$1" ]; }  # ended TIMES ACTION
# until_true SECONDS WHAT COMMAND...: until it succeeds.
until_true() {
  local i seconds=$1 what=$2
  shift 2
  for i in $(seq $((10 * seconds))); do
    "$@" && return
    sleep 0.1
  done
  broken "no $what within $seconds s"
}
past() { [ "$(done_steps)" -ge "$1" ]; }
until_step() { until_true 100 "step $1" past "$1"; }
saving() { compgen -G "$run/ckpt/step-*.tmp" >/dev/null; }
waiting() { [ "$(slurm_on squeue -h -j "$job" -o %T 2>/dev/null)" = PENDING ]; }
unknown() { [ -z "$(slurm_on squeue -h -j "$job" 2>/dev/null)" ]; }
until_gone() { until_true 60 "end of the job" unknown; }
# ends CODE:REASON:ACTION...: the starts so far, from RUN/ends.txt, without those that Open MPI's TCP connections crashed in
# MPI_Init (topology.sh): the job came back from them, too.
ends() {
  local had
  had=$(sed '/attempt= code=\(69\|70\)/d; s/.* code=\([0-9]*\) reason=\([a-z-]*\) .*action=\([a-z]*\)$/\1:\2:\3/' "$run/ends.txt" | paste -sd ' ')
  [ "$had" = "$*" ] || broken "the starts ended with '$had' instead of '$*'"
}
exit_code() { slurm_on scontrol show job -o "$job" | sed -n 's/.* ExitCode=\([0-9]*\):.*/\1/p'; }
wanted=0  # exit code of the last start

case $2 in
  node)
    submit
    until_step 50
    box_crash n3
    until_true 40 "end of the first start" ended 1 wait
    slurm_node n3
    grep -q 'the batch system ends this job in \(9 min\|10 min 00 s\)' "$run/log.txt" || broken "the job does not know its end"
    until_step $(($(done_steps) + 20))
    for _ in $(seq 3000); do ! saving || break; sleep 0.01; done
    box_crash n2
    until_true 40 "end of the second start" ended 2 wait
    slurm_node n2
    until_gone
    ends 69::wait 69::wait 0::done
    for host in n3 n2; do grep -q "lost=$host " "$run/ends.txt" || broken "the loss of $host is not noted"; done
    ;;
  head)
    submit
    until_step 50
    head=$(slurm_on scontrol show job -o "$job" | sed -n 's/.* BatchHost=\([^ ]*\).*/\1/p')
    box_crash "$head"
    until_true 120 "requeue" waiting
    slurm_node "$head"
    slurm_on scontrol update JobId="$job" StartTime=now  # Slurm would wait two minutes
    until_gone
    ends 0::done
    ;;
  limit | minute)
    mesh+=(--train.steps=100000)
    if [ "$2" = limit ]; then mesh+=(--run.time_left=32s); fi
    submit -t 1 --signal=B:CONT@1  # no warning that counts; Slurm gives it up to a minute early
    until_true 30 "word of the limit" grep -qs 'the batch system ends this job in [1-5][0-9.]* s' "$run/log.txt"
    until_true 60 "end of the first start" ended 1 again
    until_step $(($(done_steps) + 20))
    slurm_on scancel --signal=USR1 "$job"
    until_true 20 "end of the second start" ended 2 again
    until_step $(($(done_steps) + 20))
    "$banyan" stop "$run"
    until_gone
    ends 75:time-limit:again 75:signal:again 75:halt-file:stop
    mkdir "$scratch/undisturbed"
    echo "at-step $(done_steps)" >"$scratch/undisturbed/stop"
    wanted=75
    ;;
  stop)
    mesh+=(--train.steps=320)
    submit
    until_step 10
    "$banyan" stop "$run" --at-step 180  # far enough ahead for a job that looks once a second
    until_gone
    ends 75:halt-file:stop
    [ "$(exit_code)" = 75 ] || broken "the job ended with $(exit_code)"
    [ "$(done_steps)" = 180 ] || broken "stopped at another step"
    submit
    until_step 200
    slurm_on scancel "$job"
    until_gone
    ends 75:halt-file:stop 75:signal:stop
    grep -q 'stays ended' "$out" || broken "no word of the cancellation"
    BANYAN_LAUNCHER=mpirun submit
    until_step $(($(done_steps) + 20))
    slurm_on scancel --batch --signal=USR1 "$job"
    until_gone
    ends 75:halt-file:stop 75:signal:stop 75:signal:again 0::done
    ;;
  fewer)
    mesh=(--train.steps=20 --train.batch=256 --checkpoint.every_steps=4)
    submit -N 3-4
    until_step 8
    box_crash n4
    until_true 40 "end of the first start" ended 1 wait
    until_true 150 "end of the job" unknown
    ends 69::wait 0::done
    [ "$(sed 's/.*"ranks": \([0-9]*\),.*/\1/' "$run/attempts.jsonl" | paste -sd ' ')" = '4 3' ] || broken "not four ranks, then three"
    must 0 4 train "$config" "${mesh[@]}" --run.dir="$scratch/undisturbed"
    close_losses "$run" "$scratch/undisturbed" 1e-4 20
    exit 0
    ;;
esac
cat "$run/ends.txt"
[ "$(exit_code)" = $wanted ] || broken "the job ended with $(exit_code)"
must $wanted 4 train "$config" "${mesh[@]}" --run.dir="$scratch/undisturbed" --run.time_left=0s --comm.plans="$run/plans.json"
same_losses "$run" "$scratch/undisturbed"
