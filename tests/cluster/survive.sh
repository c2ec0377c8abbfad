#!/bin/bash
# survive.sh BANYAN LIBFAULTIO CASE: jobs of scripts/slurm/train.sbatch that something happens to come back by themselves, or do
# not when that would be wrong; the losses are those of a run that nothing happened to, to the last digit.
#   node     everything on a node dies in the middle of a step, on another one during a save; they are back later
#   load     everything on a node dies in the middle of a step, on another one during the load of the next start
#   local    a node dies with its memory, where its node-local checkpoints are: the job comes back from its partner's copies
#   head     everything on the node of the batch script and of rank 0 dies; Slurm notices by itself
#   limit    the job leaves before its time limit, without a warning of Slurm's; then somebody sends USR1
#   minute   the same with a time limit of Slurm's, which takes a minute
#   stop     banyan stop, scancel; going on with mpirun inside the allocation, and USR1 there
#   fewer    a node dies and stays dead: the job goes on with three, to losses within 1e-4
#   fallback a node dies and stays dead under a mesh that three do not fit: the job goes on with one of parallel.fallback
#   array    one training for each line: one task is told to save and go on, the other notices nothing
#   chain    a node dies where Slurm must not requeue: the next job of the chain finishes, the rest is cancelled
#   ranks    MPI finds nobody from a node, and then does not start there: the node is left out from then on
#   answers  generate.sbatch comes back without a node on which MPI does not start
#   bare     sbatch --export=NONE: the job has what its script sets, and so have the ranks, in the second start, too
#   preempt  a job of a better partition takes the nodes: the job saves in its grace time and goes on afterwards
#   cut      a node falls off the network; its link comes back
#   two      another job is started in the run directory: it is refused, the first one notices nothing
#   zombie   rank 0 sleeps on a node that is off the network, in the middle of a commit; the job is long back when it wakes
#   poison   a step that always kills: three attempts, then 93; somebody overrides that when the reason is gone
#   full     the disk of the run directory is full: saves are missed, the job ends and waits, and goes on when there is room
if [ "$3" = full ] && [ -z "${SMALL_DISK:-}" ]; then
  # A small disk that all hosts see, and nobody else: it is mounted for this script alone and ends with it.
  unshare --mount true 2>/dev/null || { echo "SKIPPED: this machine gives no mount namespace for a small disk" >&2; exit 77; }
  export SMALL_DISK=/mnt
  exec unshare --mount bash -c 'mount -t tmpfs -o size=20m tmpfs "$SMALL_DISK" && exec bash "$0" "$@"' "$0" "$@"
fi
. "$(dirname "$0")/slurm.sh"
box_up
slurm_up || { echo "FAILED: Slurm does not start" >&2; exit 1; }
TMPDIR=$BOX
. "$(dirname "$0")/../e2e/lib.sh"
box_guard

library=$2 case=$3
run=${SMALL_DISK:-$scratch}/run config=$scratch/config.ini out=$BOX/job.out
dataset "$scratch/tokens.h5"
config "$config" gpt "$run"
mesh=(--parallel.data=2 --parallel.pipeline=2 --train.steps=250 --checkpoint.every_steps=20 --log.every=50)

# What the ranks run: the program, with the fault that inject has asked for, or with less time left than Slurm says.
cat >"$scratch/banyan" <<END
#!/bin/bash
if [ -e $scratch/fault ] && [[ \$1 = train && \$* != *--print-value* ]]; then
  . $scratch/fault
  export LD_PRELOAD=$library FAULT FAULT_RANK FAULT_UNDER FAULT_REACHED=$scratch/reached
fi
if [[ -e $scratch/sick && \$(hostname) = n2 ]]; then export \$(cat $scratch/sick 2>/dev/null); fi
if [ -e $scratch/time_left ]; then set -- "\$@" --run.time_left="\$(cat $scratch/time_left)"; fi
exec $banyan "\$@"
END
chmod +x "$scratch/banyan"
# inject CALL:N:ACTION RANK PLACE: what befalls a rank of every start from now on (libfaultio.cpp), until heal.
inject() {
  rm -f "$scratch/reached"
  printf '%s\n' "FAULT=$1" "FAULT_RANK=$2" "FAULT_UNDER=$run/$3" >"$scratch/fault.new"
  mv "$scratch/fault.new" "$scratch/fault"
}
until_struck() { until_true 60 "fault" test -e "$scratch/reached"; }
heal() { rm -f "$scratch/fault"; }

broken() {
  { slurm_on squeue -h; cat "$out" "$run/ends.txt" "$run/attempts.jsonl"; tail -n 20 "$run/log.txt"; } >&2
  fail "$@"
}
# submit OPTION...: $batch, or else train.sbatch, on the four nodes; the job's id in $job. It rests for 15 s after a lost node, since Slurm tries for
# 11 s to have that node end the start before: back sooner, it would end the next one (lib.sh, requeue). And it tries once more a
# minute later, when no real node is back. Here it is, and a job on a busy machine still at work: it is told to end, saves, and
# comes back once more, which is no end that counts in the cases node, load and local.
submit() {
  job=$(slurm_on env BANYAN_HOME="$repo" BANYAN="$scratch/banyan" BANYAN_LAUNCH_GRACE=${grace:-5} BANYAN_BACKOFF="10 10 10 10 10 10" \
    OMPI_MCA_orte_tmpdir_base=/dev/shm OMPI_MCA_oob_tcp_if_include=eth0 sbatch --parsable -N4 -t 10 -D "$scratch" -o "$out" "$@" \
    ${batch:-"$repo/scripts/slurm/train.sbatch" "$config"} "${mesh[@]}") ||
    fail "sbatch"
}
done_steps() { tail -n 1 "$run/metrics.jsonl" 2>/dev/null | sed -n 's/.*"step": \([0-9]*\),.*/\1/p' | grep . || echo 0; }
# The ends of the starts so far, without those that Open MPI's TCP connections crashed in MPI_Init (topology.sh): the job came
# back from them, too. On a busy machine a minute may run out more than once.
true_ends() {
  local late=none
  case $case in node | load | local) late='code=75 reason=signal .*action=again' ;; esac
  sed "/attempt= code=\(69\|70\)/d; /$late/d" "$run/ends.txt" 2>/dev/null |
    awk -v kind="$case" '!(kind == "minute" && /reason=time-limit/ && n++)'
}
ended() { [ "$(true_ends | grep -c "action=$2")" -ge "$1" ]; }  # ended TIMES ACTION
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
waiting() { [ "$(slurm_on squeue -h -j "$job" -o %T 2>/dev/null)" = PENDING ]; }
unknown() { [ -z "$(slurm_on squeue -h -j "$job" 2>/dev/null)" ]; }
until_gone() { until_true 150 "end of the job" unknown; }  # on a busy machine two crashes in MPI_Init cost a minute
# ends CODE:REASON:ACTION...: the starts so far.
ends() {
  local had
  had=$(true_ends | sed 's/.* code=\([0-9]*\) reason=\([a-z-]*\) .*action=\([a-z]*\)$/\1:\2:\3/' | paste -sd ' ')
  [ "$had" = "$*" ] || broken "the starts ended with '$had' instead of '$*'"
}
exit_code() { slurm_on scontrol show job -o "$job" | sed -n 's/.* ExitCode=\([0-9]*\):.*/\1/p'; }
wanted=0 ranks=4  # exit code of the last start, and of the run that nothing happens to
undisturbed_until() {
  mkdir "$scratch/undisturbed"
  echo "at-step $1" >"$scratch/undisturbed/stop"
  wanted=75
}

case $3 in
  node | load)
    submit
    until_step 50
    case $3 in
      node) inject pwrite:1:stop 1 ckpt ;;
      load) inject pread:1:stop 1 ckpt ;;
    esac
    box_crash n3
    until_true 40 "end of the first start" ended 1 wait
    slurm_node n3
    grep -q 'the batch system ends this job in \(9 min\|10 min 00 s\)' "$run/log.txt" || broken "the job does not know its end"
    until_struck
    heal
    box_crash n2
    until_true 40 "end of the second start" ended 2 wait
    slurm_node n2
    until_gone
    ends 69::wait 69::wait 0::done
    for host in n3 n2; do grep -q "lost=$host " "$run/ends.txt" || broken "the loss of $host is not noted"; done
    ;;
  local)
    plain=("${mesh[@]}")
    # The run directory gets one after the last step alone.
    mesh+=(--parallel.zero=1 --checkpoint.every_steps=1000 --checkpoint.local=/dev/shm --checkpoint.local_every=3)
    submit
    until_step 50
    box_crash n3
    until_true 40 "end of the first start" ended 1 wait
    newest=$(sed -n 's/.*saved step-0*\([1-9][0-9]*\)\.e1 on the nodes.*/\1/p' "$run/log.txt" | tail -n 1)
    slurm_node n3
    until_gone
    ends 69::wait 0::done
    from=$(sed -n 's/.*resuming after step \([0-9]*\).*/\1/p' "$run/log.txt" | head -n 1)
    [ "${from:-0}" -ge "${newest:-1}" ] || broken "resumed after step ${from:-none}, ${newest:-none} was saved on the nodes"
    grep -q 'are fetched from other nodes' "$run/log.txt" || broken "nothing was fetched from a partner"
    for host in $box_hosts; do
      [ -z "$(box_on "$host" find /dev/shm -name 'banyan-*')" ] || broken "node-local checkpoints are left on $host"
    done
    echo "saved on the nodes after step $newest, resumed after step $from"
    mesh=("${plain[@]}" --parallel.zero=1)
    ;;
  head)
    submit
    until_step 50
    head=$(slurm_on scontrol show job -o "$job" | sed -n 's/.* BatchHost=\([^ ]*\).*/\1/p')
    box_crash "$head"
    until_true 120 "requeue" waiting
    slurm_node "$head"
    # Slurm would wait two minutes. Not none at all: it knocks for 11 s at a node that is down, to have it end the first
    # start, and after a minute again, and does not wait for the answer before the second one, whose job has the same number.
    slurm_on scontrol update JobId="$job" StartTime=now+65
    until_gone
    ends 0::done
    ;;
  limit | minute)
    mesh+=(--train.steps=100000)
    if [ "$3" = limit ]; then echo 32s >"$scratch/time_left"; fi
    submit -t 1 --signal=B:CONT@1  # no warning that counts; Slurm gives it up to a minute early
    until_true 30 "word of the limit" grep -qs 'the batch system ends this job in [1-5][0-9.]* s' "$run/log.txt"
    until_true 60 "end of the first start" ended 1 again
    rm -f "$scratch/time_left"
    until_step $(($(done_steps) + 20))
    for i in $(seq 0 449); do  # between two starts nobody hears it
      if ended 2 again; then break; fi
      if [ $((i % 150)) = 0 ]; then slurm_on scancel --signal=USR1 "$job"; fi
      sleep 0.1
    done
    until_true 20 "end of the second start" ended 2 again
    until_step $(($(done_steps) + 20))
    "$banyan" stop "$run"
    until_gone
    ends 75:time-limit:again 75:signal:again 75:halt-file:stop
    undisturbed_until "$(done_steps)"
    ;;
  stop)
    mesh+=(--train.steps=285)
    submit
    until_step 10
    "$banyan" stop "$run" --at-step 150  # far enough ahead for a job that looks once a second
    until_gone
    ends 75:halt-file:stop
    [ "$(exit_code)" = 75 ] || broken "the job ended with $(exit_code)"
    [ "$(done_steps)" = 150 ] || broken "stopped at another step"
    submit
    until_step 165
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
  fewer | fallback)
    mesh=(--train.steps=20 --train.batch=256 --checkpoint.every_steps=4) lost_at=8 last=20
    if [ "$case" = fallback ]; then
      mesh=(--parallel.pipeline=4 --train.steps=60 --train.batch=24 --checkpoint.every_steps=10 "--parallel.fallback=2x3,1x3")
      lost_at=25 last=60
    fi
    submit -N 3-4
    until_step $lost_at
    box_crash n4
    until_true 40 "end of the first start" ended 1 wait
    until_gone
    ends 69::wait 0::done
    [ "$(sed 's/.*"ranks": \([0-9]*\),.*/\1/' "$run/attempts.jsonl" | paste -sd ' ')" = '4 3' ] || broken "not four ranks, then three"
    [ "$case" = fewer ] || grep -q 'using the mesh 1x3 of parallel.fallback' "$run/log.txt" "$out" || broken "no word of the mesh"
    must 0 4 train "$config" "${mesh[@]}" --run.dir="$scratch/undisturbed"
    close_losses "$run" "$scratch/undisturbed" 1e-4 $last
    exit 0
    ;;
  array)
    base=$run run=$base/3 ranks=2
    mesh=(--parallel.pipeline=2 --checkpoint.every_steps=20 --log.every=50)
    printf '%s\n' '--train.steps=60 --run.seed=12' '# a comment' '--train.steps=250 --run.seed=11' >"$scratch/lines"
    batch="$repo/scripts/slurm/array.sbatch $config $scratch/lines" submit --array=1-3 -N2 -o "$BOX/task%a.out"
    array=$job job=${job}_3 out=$BOX/task3.out  # the last one, whose number is that of the array, too
    until_step 50
    slurm_on scancel --batch --signal=USR1 "$job"
    until_gone
    job=$array
    until_gone
    ends 75:signal:again 0::done
    first=$(losses "$run" | tail -n 1)
    run=$base/1
    ends 0::done
    [ "${first%% *} $(done_steps)" = '250 60' ] || broken "the options of a line are not those of its run"
    for task in 1=0 2=64 3=0; do
      job=${array}_${task%=*}
      [ "$(exit_code)" = "${task#*=}" ] || broken "task ${task%=*} ended with $(exit_code)"
    done
    must 0 2 train "$config" "${mesh[@]}" --train.steps=60 --run.seed=12 --run.dir="$scratch/other"
    same_losses "$run" "$scratch/other"
    job=${array}_3 run=$base/3
    mesh+=(--train.steps=250 --run.seed=11)
    ;;
  chain)
    ranks=2 mesh=(--parallel.pipeline=2 --train.steps=250 --checkpoint.every_steps=20 --log.every=50)
    submit --array=1-9%1 --no-requeue -N2 -o "$out"
    until_step 50
    box_crash n2
    until_true 40 "end of the first job" ended 1 wait
    until_gone
    ends 69::wait 0::done
    [ "$(sed -n 's/.* chain=\([0-9]*\) .*/\1/p' "$run/ends.txt" | sort -u)" = "$job" ] || broken "not one chain"
    used=$(wc -l <"$run/ends.txt")  # crashes in MPI_Init take jobs, too
    states=$(slurm_on scontrol show job -o "$job" | sed -n 's/.* JobState=\([A-Z]*\) .*/\1/p' | sort | uniq -c | awk '{ print $2 "=" $1 }' | paste -sd ' ')
    [ "$states" = "CANCELLED=1 COMPLETED=1 FAILED=$((used - 1))" ] || broken "after $used jobs the chain is left as $states"
    job=${job}_$used
    ;;
  ranks)
    ranks=3 mesh=(--parallel.data=3 --train.batch=24 --train.steps=40 --log.every=50)
    lost() { [ "$(grep -c ' lost=n2 .*action=wait' "$run/ends.txt" 2>/dev/null)" = "$1" ]; }
    echo OMPI_MCA_btl_tcp_if_include=nowhere >"$scratch/sick"
    submit -N3
    until_true 120 "first blame" lost 1
    grep -q 'n2: MPI starts, but finds no other node' "$out" || broken "no word of a node that finds no other"
    echo OMPI_MCA_btl=nowhere >"$scratch/sick"
    until_true 120 "second blame" lost 2
    grep -q 'n2: MPI does not start, not even alone' "$out" || broken "no word of a node on which MPI does not start"
    until_gone
    ends 0::done
    slurm_on scontrol show job -o "$job" | grep -q ' ExcNodeList=n2 ' || broken "n2 is not excluded"
    [ "$(grep -c ' lost=n' "$run/ends.txt")" = 2 ] || broken "other nodes are blamed, too"
    ;;
  answers)
    mesh=(--parallel.pipeline=2 --train.steps=20)
    must 0 2 train "$config" "${mesh[@]}"
    echo OMPI_MCA_btl=nowhere >"$scratch/sick"
    printf '{"prompt": "%s"}\n' 'the river' 'small light' >"$scratch/prompts"
    batch="$repo/scripts/slurm/generate.sbatch $config --jsonl $scratch/prompts --out $scratch/answers" submit -N2
    until_gone
    [ "$(exit_code)" = 0 ] || broken "the job ended with $(exit_code)"
    [ "$(grep -c '"text"' "$scratch/answers")" = 2 ] || broken "not two answers"
    [ "$(grep -c 'n2: MPI does not start, not even alone' "$out")" = 2 ] || broken "n2 is not blamed twice"
    slurm_on scontrol show job -o "$job" | grep -q ' ExcNodeList=n2 ' || broken "n2 is not excluded"
    [ ! -e "$scratch/answers.job-$job" ] || broken "something is left beside the answers"
    exit 0
    ;;
  bare)
    # What a site's own script does: sbatch gives it nothing of the caller's.
    {
      echo '#!/bin/bash'
      # shellcheck disable=SC2046
      printf 'export %s\n' BANYAN_HOME="$repo" BANYAN="$scratch/banyan" BANYAN_BACKOFF='"10 10 10"' OMPI_MCA_orte_tmpdir_base=/dev/shm \
        OMPI_MCA_oob_tcp_if_include=eth0 SLURM_CONF="$BOX/slurm/slurm.conf" OMP_NUM_THREADS=1 $(cat "$BOX/mpi")
      echo '[ -z "${OF_THE_CALLER:-}" ] || exit 65'
      echo '. "$BANYAN_HOME/scripts/slurm/train.sbatch"'
    } >"$scratch/bare.sbatch"
    export OF_THE_CALLER=1
    batch="$scratch/bare.sbatch $config" submit --export=NONE
    until_step 50
    slurm_on scancel --batch --signal=USR1 "$job"
    until_gone
    ends 75:signal:again 0::done
    ;;
  preempt)
    submit -p low
    until_step 50
    # Longer than the grace time, at whose end Slurm requeues the job once more wherever it is by then.
    other=$(slurm_on sbatch --parsable -p high -N4 --exclusive -o /dev/null --wrap 'sleep 30') || fail "sbatch"
    until_true 60 "end of the first start" ended 1 again
    left=$(done_steps)
    until_gone
    ends 75:signal:again 0::done
    [ "$(slurm_on scontrol show job -o "$other" | sed -n 's/.* JobState=\([A-Z]*\).*/\1/p')" = COMPLETED ] || broken "the other job has not run"
    grep -q "\"from_step\": $left," "$run/attempts.jsonl" || broken "the grace time was not enough to save step $left"
    ;;
  cut)
    mesh+=(--comm.peer_timeout=4s)
    submit
    until_step 50
    box_link n3 down
    until_true 60 "end of the first start" ended 1 wait
    for rank in 0 1 3; do
      grep -q 'rank 2 on n3' "$run/causes/1.$rank.json" || broken "rank $rank does not say whom it missed"
    done
    box_link n3 up
    until_gone
    ends 69::wait 0::done
    ;;
  two)
    mesh+=(--train.steps=100000)  # longer than the second takes to be refused, crashes in MPI_Init included
    submit
    first=$job
    until_step 50
    out=$BOX/second.out submit
    second=$job
    until_gone
    [ "$(exit_code)" = 73 ] || broken "the second job ended with $(exit_code)"
    grep -q "$run is held by process [0-9]* on n[1-4] (job $first); stop that job first" "$BOX/second.out" ||
      { cat "$BOX/second.out" >&2; broken "the second job does not say who holds the run directory"; }
    [ "$(wc -l <"$run/attempts.jsonl")" = 1 ] || broken "the second job has begun to train"
    job=$first
    "$banyan" stop "$run"
    until_gone
    ends 73::stop 75:halt-file:stop
    undisturbed_until "$(done_steps)"
    ;;
  zombie)
    ranks=2 mesh=(--parallel.pipeline=2 --train.steps=100000 --checkpoint.every_steps=20 --log.every=50 --comm.peer_timeout=4s)
    inject rename:6:stop 0 ckpt  # each save renames its manifest and itself: before the third commit
    grace=1000 submit -N2        # nobody on the lost node ends it, either
    until_struck
    heal
    zombie=$(sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' "$run/causes/1.json")
    box_link n1 down
    until_true 120 "requeue" waiting
    slurm_on scontrol update JobId="$job" StartTime=now  # Slurm would wait two minutes
    until_step 100
    grep -q '"attempt": 2, .*"from_step": 40,' "$run/attempts.jsonl" || broken "the second start has not taken over from step 40"
    kept=$(ls "$run/ckpt" | grep '\.e2$')
    [ "$(sed 's/.*) //' "/proc/$zombie/stat" | cut -c 1)" = T ] || broken "rank 0 does not sleep any more: this test sees nothing"
    kill -CONT "$zombie"
    until_true 60 "end of the zombie" test ! -e "/proc/$zombie"
    slurm_on scancel --signal=USR1 "$job"
    until_true 60 "end of the second start" ended 1 again
    for name in $kept; do
      [ -e "$run/ckpt/$name" ] || [ "$(ls "$run/ckpt" | grep -c '\.e2$')" -ge 3 ] || broken "the zombie has removed $name"
    done
    from=$(done_steps)
    until_step $((from + 20))
    grep -q "\"attempt\": 3, \"epoch\": 3, \"from_step\": $from," "$run/attempts.jsonl" || broken "the third start went on from elsewhere"
    "$banyan" stop "$run"
    until_gone
    undisturbed_until "$(done_steps)"
    ;;
  poison)
    ranks=2 mesh=(--parallel.pipeline=2 --train.steps=120 --checkpoint.every_steps=40 --log.every=50)
    mkdir "$run"
    echo 'at-step 40' >"$run/stop"
    must 75 2 train "$config" "${mesh[@]}"
    inject pwrite:30:kill 0 metrics.jsonl  # step 70, since nothing after step 40 is ever saved
    submit -N2  # a node that is lost twice is left out from then on
    until_gone
    ends 69::wait 69::wait 69::wait 93::stop
    [ "$(exit_code)" = 93 ] || broken "the job ended with $(exit_code)"
    grep -q 'the last 3 attempts (.*) began at step 40 and saved nothing newer.*--run.attempts=6' "$run/log.txt" "$out" ||
      broken "no word of what to do"
    heal
    mesh+=(--run.attempts=6)
    submit -N2
    until_gone
    ends 69::wait 69::wait 69::wait 93::stop 0::done
    ;;
  full)
    submit
    until_step 50
    fallocate -l "$(df -B1 --output=avail "$SMALL_DISK" | awk 'NR == 2 { print $1 - 1000000 }')" "$SMALL_DISK/ballast"
    until_true 60 "end of the first start" ended 1 wait
    for try in 1 2 3; do
      grep -q "the save after step [0-9]* failed ($try of 3 tries): .*free" "$run/log.txt" "$out" || broken "no word of missed save $try"
    done
    until_true 60 "end of the second start" ended 2 wait
    grep -q "preflight: $run has [0-9]* KiB free" "$out" || broken "the preflight has not seen the full disk"
    rm "$SMALL_DISK/ballast"
    until_gone
    ends 74::wait 74::wait 0::done
    ;;
  *) fail "there is no case $3" ;;
esac
cat "$run/ends.txt"
[ "$(exit_code)" = $wanted ] || broken "the job ended with $(exit_code)"
must $wanted "$ranks" train "$config" "${mesh[@]}" --run.dir="$scratch/undisturbed" --run.time_left=0s --comm.plans="$run/plans.json"
same_losses "$run" "$scratch/undisturbed"
