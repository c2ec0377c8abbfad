#!/usr/bin/env bash
# scripts/slurm and scripts/mpirun-loop.sh: first the decisions of lib.sh, then whole scripts with a made-up Slurm, mpirun and
# program: what becomes of each way a start can end.
set -uo pipefail
. "$(dirname "$0")/stubs.sh"

# ------------------------------------------------------------------------------------------------------------ decisions
decisions() (
  . "$root/scripts/slurm/lib.sh"
  next() { same "next_action $1 '$2' '$3'" "$(next_action "$1" "$2" "$3")" "$4"; }
  next 0 '' 1 done
  for reason in signal time-limit max-time ''; do next 75 "$reason" 1 again; done
  next 75 halt-file 1 stop
  next 75 halt-file '' stop
  for code in 69 74; do next $code '' 1 wait; next $code '' '' wait; done
  next 70 '' 1 stop
  next 70 '' '' wait
  for code in 64 65 73 76 78 93 1 2 126 127 137 255; do next $code '' 1 stop; done
  # Progress: what is committed, or what an attempt took up from its nodes.
  local run_dir
  run_dir=$(mktemp -d)
  same "saved_step of nothing" "$(saved_step)" 0
  mkdir -p "$run_dir/ckpt/step-000000010.e1" "$run_dir/ckpt/step-000000015.e2.tmp"
  same "saved_step of a commit" "$(saved_step)" 10
  mkdir -p "$run_dir/lease/e2" "$run_dir/lease/e3"
  echo '{"digest":"d","name":"step-000000010.e1","sum":"s"}' >"$run_dir/lease/e2/BASE"
  echo '{"digest":"d","name":"local/step-000000012.e2","sum":"s"}' >"$run_dir/lease/e3/BASE"
  same "saved_step of a node-local base" "$(saved_step)" 12
  rm -r "$run_dir"
  # What the program calls worth a requeue is started again, nothing else but a crash before it began.
  local name requeue code codes=$root/src/base/exit_code.hpp seen=0
  while read -r name requeue; do
    code=$(sed -n "s/^  k$name = \([0-9]*\),/\1/p" "$codes")
    case $requeue/$(next_action "$code" '' 1) in true/again | true/wait | false/stop | false/done) ;; *) bad "exit code $code" ;; esac
    seen=$((seen + 1))
  done < <(sed -n 's/.*{ExitCode::k\([A-Za-z]*\), \(true\|false\).*/\1 \2/p' "$codes")
  same "exit codes" "$([ $seen -gt 9 ] && echo many)" many

  line() { echo "2026-01-01T00:00:00Z chain=$1 attempt=1 code=${5:-69} reason= saved=$2 lost=$4 action=$3"; }
  same "no failure" "$(failures 7 0 </dev/null)" 0
  same "in a row" "$({ line 7 0 wait ''; line 7 0 wait ''; line 7 0 wait ''; } | failures 7 0)" 3
  same "progress in between" "$({ line 7 0 wait ''; line 7 0 wait ''; line 7 10 wait ''; } | failures 7 10)" 1
  same "a stop in between" "$({ line 7 10 wait ''; line 7 10 again ''; line 7 10 wait ''; } | failures 7 10)" 1
  same "of others" "$({ line 6 0 wait ''; line 77 0 wait ''; line 7 0 wait ''; } | failures 7 0)" 1
  same "other people's lines" "$({ echo hello; line 7 0 wait ''; echo; } | failures 7 0)" 1
  same backoff "$(for n in 0 1 2 3 4; do echo "$(backoff $n)."; done | paste -sd ' ')" "0. 10. 60. 300. ."

  same "nobody twice" "$({ line 7 0 wait n1,n2; line 7 0 wait n3; } | failed_twice 7)" ''
  same twice "$({ line 7 0 wait n1,n2; line 6 0 wait n3; line 7 0 wait n3,n2; line 7 0 wait ''; } | failed_twice 7)" n2
  same "two twice" "$({ line 7 0 wait n4,n2; line 7 0 wait n2,n4; } | failed_twice 7)" n2,n4
  same "token files" "$(data_files 'a.h5:0.5, b c.h5 ,d:e.h5,f*:3,' | paste -sd ';')" 'a.h5;b c.h5;d:e.h5;f*'
  head -c 3000000 /dev/zero >"$dir/long"
  local ends whole
  ends=$(fingerprint "$dir/long") whole=$(BANYAN_PREFLIGHT=full fingerprint "$dir/long")
  printf x | dd of="$dir/long" bs=1 seek=1500000 conv=notrunc status=none
  same "the middle is not read" "$(fingerprint "$dir/long")" "$ends"
  [ "$(BANYAN_PREFLIGHT=full fingerprint "$dir/long")" != "$whole" ] || bad "the middle should have been read"
  printf x >>"$dir/long"
  [ "$(fingerprint "$dir/long")" != "$ends" ] || bad "a longer file looks the same"
  same "lists" "$(join_lists n3,n1 n1,n2)" n1,n2,n3
  same "one list" "$(join_lists '' n2)" n2

  same "a chain goes on" "$(line 7 0 wait '' | chain_end 7)" ''
  same "a chain has finished" "$({ line 7 0 wait ''; line 7 9 'done' '' 0; line 8 0 wait ''; } | chain_end 7)" 0
  same "a chain has ended" "$(line 7 0 stop '' 78 | chain_end 7)" 78
  same "a chain has not begun" "$(line 8 0 stop '' 78 | chain_end 7)" ''

  same "hosts left" "$(without_hosts n1:8,n2:8,n3 n2)" n1:8,n3
  same "no hosts left" "$(without_hosts n1:8 n1,n2)" ''
  same places "$(places n1:8,n2)" 9

  for pair in 45=45 30:00=1800 2:00:00=7200 4-02:00:00=352800 1-00=86400 1-12:30=131400 0:00=0 UNLIMITED= INVALID= NOT_SET= =; do
    same "seconds_of ${pair%=*}" "$(seconds_of "${pair%=*}")" "${pair#*=}"
  done

  save() { echo "{\"attempt\":1,\"step\":$1,\"bytes\":5,\"seconds\":$2}"; }
  same "no saves" "$(p99 </dev/null)" ''
  same "one save" "$(save 1 2.25 | p99)" 3
  same "99 of 100" "$(for i in $(seq 100); do save 1 "$i"; done | p99)" 99
  same "the newest hundred" "$({ save 1 900; for i in $(seq 100); do save 1 1e-2; done; } | p99)" 1
  mkdir -p "$dir/graced" && save 1 100 >"$dir/graced/saves.jsonl"
  same grace "$("$root/scripts/slurm/lib.sh" grace "$dir/graced")" 290

  job() { echo "JobId=5 JobName=x UserId=root(0) JobState=$1 Reason=$2 Dependency=(null) Requeue=1 Restarts=$3 BatchFlag=1"; }
  same "time limit" "$(job COMPLETING TimeLimit 0 | fate 0)" running
  same "asked by hand" "$(job RUNNING None 2 | fate 2)" running
  same "requeued" "$(job COMPLETING None 3 | fate 2)" requeued
  same "waits again" "$(job PENDING BeginTime 1 | fate 1)" requeued
  same "scancel" "$(job COMPLETING None 0 | fate 0)" cancelled
  same "no answer" "$(fate 0 </dev/null)" unknown

  nodes() { printf 'node %s\n' "$@" | judge_nodes "n1 n2 n3" 1000 1003; }
  same "all well" "$(nodes 'n1 1001 aa 2 ' 'n2 1002 aa 2' 'n3 1000 aa 2')" ''
  same "silence" "$(nodes 'n1 1001 aa 0' 'n3 1000 aa 0')" 'n2: does not answer'
  same "a problem" "$(nodes 'n1 1001 aa 0' 'n2 1001 none 0 cannot read x' 'n3 1000 aa 0')" 'n2: cannot read x'
  same "one sees data" "$(nodes 'n1 1001 aa 0' 'n2 1001 none 0 cannot read x' 'n3 1001 none 0 cannot read x' | wc -l)" 2
  same "other data" "$(nodes 'n1 1001 aa 0' 'n2 1001 bb 0' 'n3 1000 aa 0')" 'n2: sees other data than most nodes'
  same "a clock" "$(nodes 'n1 1001 aa 0' 'n2 1001 aa 0' 'n3 4600 aa 0')" 'n3: its clock is off by more than a minute'
  same "a clock behind" "$(nodes 'n1 1001 aa 0' 'n2 930 aa 0' 'n3 1000 aa 0')" 'n2: its clock is off by more than a minute'
  same "an adapter less" "$(nodes 'n1 1001 aa 4' 'n2 1001 aa 4' 'n3 1000 aa 3')" \
    'n3: has 3 network adapters that work, most nodes have 4'
  same "an adapter more" "$(nodes 'n1 1001 aa 4' 'n2 1001 aa 5' 'n3 1000 aa 4')" ''
  same "noise" "$(printf '%s\n' 'srun: hello' 'node n1 1001 aa 0' 'node n2 1 ' | judge_nodes "n1" 1000 1003)" ''
  exit $failures
)
decisions
failures=$?

# --------------------------------------------------------------------------------------------------------- whole scripts
fresh "10 $(stopped max-time)" "20 $lost" "30 $well"
loop 0 "goes on until the last step"
private
same "starts" "$(starts)" 3
same "waits" "$(grep -v '^1$' "$dir/slept" | paste -sd ' ')" "0 10"
same "ends" "$(sed 's/.* attempt=//; s/ .*action=/ /' "$RUN/ends.txt" | paste -sd ,)" "0 again,1 wait,2 done"
same "hosts" "$(grep -c -e '--host n1:2,n2:2 --nothing' "$dir/starts")" 6
same "each host is asked by itself" "$(grep -c -e '--host n[12] --nothing.* node-check' "$dir/starts")" 6

fresh "10 $(stopped halt-file)" "20 $well"
loop 75 "a person's stop"
same "starts after a person's stop" "$(starts)" 1

for code in 65 73 76 78 93 70; do
  fresh "10 0:69 1:$code" "20 $well"
  loop $code "code $code is for a person"
  same "starts after $code" "$(starts)" 1
done

fresh "0 -" "0 -" "10 $well"
loop 0 "a crash before the run directory is opened"
same "starts after crashes" "$(starts)" 3

fresh "10 $lost" "10 0:74 1:74" "10 0:74" "10 0:74" "20 $well"
loop 93 "no progress"
same "waits without progress" "$(grep -v '^1$' "$dir/slept" | paste -sd ' ')" "10 60 300"

fresh "10 $lost" "20 $lost" "30 $well"
loop 0 "a host lost twice"
same "started without it" "$(grep -c -e '-n 2 .*--host n1:2 --nothing .* train' "$dir/starts")" 1

fresh "10 $well"
mkdir -p "$RUN" && touch "$RUN/stop"
loop 75 "asked to stop before the start"
same "starts" "$(starts)" 0
[ ! -e "$RUN/stop" ] || bad "the request stays"
echo 'at-step 99' >"$RUN/stop"
loop 0 "asked to stop later"

fresh "10 $well"
DATA=$dir/nowhere.h5 loop 78 "no data on any host"
grep -q 'n1: cannot read .*nowhere' "$dir/out" || bad "the preflight does not name host and file"
NODES=n1 BANYAN_BACKOFF=7 loop 93 "a host that does not answer"
grep -q 'n2: does not answer' "$dir/out" || bad "the preflight does not name the host"
if grep -q 'n1: does not answer' "$dir/out"; then bad "one host that is gone makes others look so"; fi
same "started by a failed preflight" "$(starts)" 0
fresh "10 $well"
SICK=n2 loop 0 "going on without a host on which MPI does not start"
same "hosts without MPI" "$(sed -n 's/.* lost=\([^ ][^ ]*\) .*/\1/p' "$RUN/ends.txt" | paste -sd ' ')" "n2 n2"
fresh "10 $well"
NODES=n1 loop 0 "going on without a host that does not answer"
same "hosts lost" "$(sed -n 's/.* lost=\([^ ][^ ]*\) .*/\1/p' "$RUN/ends.txt" | paste -sd ' ')" "n2 n2"
same "started without the host" "$(grep -c -e '-n 2 .*--host n1:2 --nothing .* train' "$dir/starts")" 1
check 78 "wrong config" "$root/scripts/mpirun-loop.sh" x.ini --wrong
check 64 "no config" "$root/scripts/mpirun-loop.sh"

fresh "10 $(stopped signal)" "20 $well"
signalled() {
  WAIT=1 "$root/scripts/mpirun-loop.sh" --hosts n1:2,n2:2 x.ini &
  local pid=$!
  until [ -e "$dir/ready" ]; do /bin/sleep 0.05; done
  kill -TERM $pid
  wait $pid
}
check 75 "TERM ends the loop" signalled
same "starts after TERM" "$(starts)" 1

# ---- the same in Slurm
fresh "10 $well"
batch 0 "finished" "${train[@]}"
private
same "nothing is asked" "$(asked)" ''
grep -q -e 'srun .*--mpi=pmix.* train --run.time_left=3600s x.ini' "$dir/starts" || bad "no time limit or PMIx: $(cat "$dir/starts")"
fresh "10 $(stopped time-limit)"
batch 75 "time limit" "${train[@]}"
same "requeued" "$(asked)" 'requeue 5;update JobId=5 StartTime=now+2'
fresh "10 $lost"
batch 69 "a node lost" "${train[@]}"
same "requeued later" "$(asked)" 'requeue 5;update JobId=5 StartTime=now+15'
printf '%s\n' "20 $lost" >"$PLAN"
: >"$dir/asked"
batch 69 "a node lost again" EXCLUDED=n9 "${train[@]}"
same "excluded" "$(asked)" 'requeue 5;update JobId=5 StartTime=now+15;update JobId=5 ExcNodeList=n2,n9'
fresh "10 $(stopped halt-file)"
batch 75 "a person's stop in Slurm" "${train[@]}"
same "not requeued" "$(asked)" ''
fresh "10 $(stopped signal)"
batch 75 "requeueing refused" "REFUSED=Requested operation is presently disabled" "${train[@]}"
grep -q 'as a chain' "$dir/out" || bad "no word of what to do"
fresh "10 $(stopped signal)"
batch 75 "unlimited" LEFT=UNLIMITED BANYAN_LAUNCHER=mpirun SLURM_NTASKS=4 "${train[@]}"
grep -q -e 'mpirun .*-n 4 .* train x.ini' "$dir/starts" || bad "mpirun in an allocation: $(cat "$dir/starts")"
cancelled() {
  env WAIT=1 STATE=COMPLETING SLURM_JOB_ID=5 SLURM_JOB_NODELIST='n[1-2]' BANYAN_HOME="$root" "${train[@]}" &
  local pid=$!
  until [ -e "$dir/ready" ]; do /bin/sleep 0.05; done
  kill -TERM $pid  # the ranks get theirs from Slurm
  /bin/sleep 0.3
  kill -USR1 $pid
  wait $pid
}
fresh "10 $(stopped signal)"
check 75 "scancel" cancelled
same "a cancelled job stays so" "$(asked)" ''
grep -q 'stays ended' "$dir/out" || bad "no word of the cancellation"

# ---- the preflight
# refused CODE WHAT WORDS [VARIABLE=VALUE...]: by the preflight, which says WORDS; nothing is started.
refused() {
  local wanted=$1 what=$2 words=$3
  shift 3
  fresh "10 $well"
  batch "$wanted" "$what" "$@" "${train[@]}"
  case $wanted in 78) same "requeued after $what" "$(asked)" '' ;; *) same "requeued after $what" "$(asked)" 'requeue 5;update JobId=5 StartTime=now+15' ;; esac
  grep -q "preflight: .*$words" "$dir/out" || { bad "$what: it does not say '$words'"; cat "$dir/out"; }
  same "starts in spite of $what" "$(starts)" 0
  [ -z "$(ls -A "$RUN" | grep '^\.preflight')" ] || bad "$what: left behind $(ls -A "$RUN")"
}
# tool NAME LINE...: a made-up program on the PATH until the next without.
tool() { printf '%s\n' '#!/bin/bash' "${@:2}" >"$dir/bin/$1"; chmod +x "$dir/bin/$1"; }
without() { rm -f "$dir/bin/$1"; }

refused 69 "ranks that do not start" "ranks do not start on these nodes" MEET=69
grep -q 'they do not meet' "$dir/out" || bad "what the launcher said is not told"
same "tries to start them" "$(grep 'topo --job' "$dir/starts" | grep -vc -e --nodelist)" 2
same "tries on each alone" "$(grep -c -e '--mpi=pmix .*--nodelist=n[12] --nodes=1 --ntasks=1 .*topo --job' "$dir/starts")" 2
same "blamed when they start nowhere" "$(grep -c ' lost= ' "$RUN/ends.txt")" 1
refused 69 "a node without MPI" "n2: MPI does not start, not even alone" SICK=n2
grep -q ' lost=n2 ' "$RUN/ends.txt" || bad "the node without MPI is not noted: $(cat "$RUN/ends.txt")"
: >"$dir/asked"
batch 69 "a node without MPI, again" SICK=n2 "${train[@]}"
same "excluded without MPI" "$(asked)" 'requeue 5;update JobId=5 StartTime=now+65;update JobId=5 ExcNodeList=n2'
for launcher in srun mpirun; do
  refused 69 "a node that finds no other, $launcher" "n3: MPI starts, but finds no other node" MUTE=n3 NODES="n1 n2 n3" \
    BANYAN_LAUNCHER=$launcher
  grep -q ' lost=n3 ' "$RUN/ends.txt" || bad "the node that finds no other is not noted: $(cat "$RUN/ends.txt")"
done
refused 74 "a disk too small for a first checkpoint" "has [0-9]* KiB free, a checkpoint needs 12890625000" PARAMETERS=1000000000000
tool fallocate 'echo "fallocate: fallocate failed: Disk quota exceeded" >&2; exit 1'
refused 74 "a quota" "the quota of $RUN does not allow the 13 KiB" PARAMETERS=1000
tool fallocate 'echo "fallocate: fallocate failed: No space left on device" >&2; exit 1'
refused 74 "space for others only" "does not give the 13 KiB" PARAMETERS=1000
without fallocate
tool df 'case $1 in -Pi) printf "%s\n" "Filesystem Inodes IUsed IFree" "x 100 98 2" ;; *) exec /usr/bin/df "$@" ;; esac'
refused 74 "no more files" "has room for 2 more files" PARAMETERS=1000
tool df 'case "$*" in *shm*) printf "%s\n" "x" "x 100 98 2" ;; *) exec /usr/bin/df "$@" ;; esac'
refused 78 "no room in /dev/shm" "n2: has less than 64 MiB free in /dev/shm"
without df
refused 78 "no GPU tool" "n1: has no nvidia-smi" BANYAN_GPUS=2
tool nvidia-smi 'echo "GPU 0: x"; [ "$SLURMD_NODENAME" = n2 ] || echo "GPU 1: x"'
refused 69 "a GPU less" "n2: has 1 GPUs that answer instead of 2" BANYAN_GPUS=2
without nvidia-smi
tool ucx_info 'for i in 0 1; do [ $i$SLURMD_NODENAME = 1n2 ] || printf "%s\n" "#  Transport: rc_mlx5" "#  Device: mlx5_$i:1"; done' \
  'printf "%s\n" "#  Transport: tcp" "#  Device: eth0"'
refused 69 "an adapter less" "n2: has 1 network adapters that work, most nodes have 2" NODES="n1 n2 n3"
without ucx_info
refused 69 "the site's check" "n2: BANYAN_NODE_CHECK ended with 3: a fan stands still" \
  'BANYAN_NODE_CHECK=[ $SLURMD_NODENAME = n1 ] || { echo a fan stands still; exit 3; }'
refused 78 "a program that does not run" "n1: cannot run" BANYAN="$dir/bin/broken"
fresh "10 $well"
batch 0 "a start without preflight" BANYAN_PREFLIGHT=off "${train[@]}"
same "nodes asked" "$(grep -c -e node-check -e topo "$dir/starts")" 0

# A chain: a link that fails leaves the rest to the next one, a link that ends for good ends the chain.
chain=(SLURM_ARRAY_JOB_ID=4 SLURM_ARRAY_TASK_ID=1 "${train[@]}")
fresh "10 $lost" "20 $(stopped time-limit)" "30 $well"
batch 69 "a link is lost" "${chain[@]}"
batch 75 "a link at its time limit" SLURM_JOB_ID=6 "${chain[@]}"
same "the chain is left alone" "$(asked)" ''
batch 0 "the last link" "${chain[@]}"
same "the rest is cancelled" "$(asked)" 'scancel --state=PENDING 4'
batch 0 "a link too many" "${chain[@]}"
same "starts of the chain" "$(starts)" 3

# One run for each line.
sweep=(bash "$root/scripts/slurm/array.sbatch" x.ini "$dir/lines")
printf '%s\n' '--a.b=1' '--a.b=2 --c.d=3' >"$dir/lines"
fresh "10 $(stopped signal)"
batch 75 "a task of an array" SLURM_ARRAY_JOB_ID=4 SLURM_ARRAY_TASK_ID=2 "${sweep[@]}"
same "the task is requeued" "$(asked)" 'requeue 4_2;update JobId=4_2 StartTime=now+2'
grep -q -e "x.ini --run.dir=$RUN/2 --a.b=2 --c.d=3" "$dir/starts" || bad "the options of line 2: $(cat "$dir/starts")"
batch 64 "a task without a line" SLURM_ARRAY_TASK_ID=3 "${sweep[@]}"

write=(bash "$root/scripts/slurm/generate.sbatch" x.ini --jsonl in --out "$dir/answers")
for pair in 0=0 69=69 70=70; do
  tool srun '[[ $* = *" generate "* ]] || exec "${0%/*}/mpirun" "$@"' 'echo "$*" >>"$STUBS/starts"' "exit ${pair#*=}"
  fresh
  batch "${pair%=*}" "generate, $pair" SLURM_RESTART_COUNT=1 "${write[@]}"
  case $pair in 69=*) wanted='requeue 5;update JobId=5 StartTime=now+65' ;; *) wanted='' ;; esac
  same "after generate, $pair" "$(asked)" "$wanted"
done
fresh
batch 70 "generate once more" SLURM_RESTART_COUNT=3 "${write[@]}"

# Its preflight: nodes and ranks.
fresh
batch 69 "generate on a node that is ill" "BANYAN_NODE_CHECK=[ \$SLURMD_NODENAME = n1 ]" "${write[@]}"
same "starts on a node that is ill" "$(starts)" 0
same "requeued" "$(asked)" 'requeue 5;update JobId=5 StartTime=now+15'
: >"$dir/asked"
batch 69 "generate without MPI on a node" SLURM_RESTART_COUNT=1 SICK=n2 "${write[@]}" --model.width=64 --prompt --a.b=c
same "excluded" "$(asked)" 'requeue 5;update JobId=5 StartTime=now+65;update JobId=5 ExcNodeList=n2'
same "starts without MPI" "$(starts)" 0
grep -q -e 'topo --job x.ini --model.width=64 --topology.source=flat$' "$dir/starts" || bad "options of the ranks: $(cat "$dir/starts")"
[ ! -e "$RUN" ] || bad "the preflight of generate makes a run directory"
batch 70 "generate goes on" SLURM_RESTART_COUNT=2 "${write[@]}"
same "starts" "$(starts)" 1
same "left beside the answers" "$(ls "$dir" | grep answers)" ''
# No node is noted beside answers of somebody else: they would look like the job's own.
: >"$dir/answers"
fresh
batch 69 "generate beside other answers" SICK=n2 "${write[@]}"
same "noted beside other answers" "$(ls "$dir" | grep answers)" answers
rm "$dir/answers"
batch 78 "generate with nonsense" "${write[@]}" --wrong
same "starts with nonsense" "$(starts)" 0
fresh
batch 70 "generate without preflight" SICK=n2 BANYAN_PREFLIGHT=off "${write[@]}"
same "asked without preflight" "$(grep -c -e node-check -e topo "$dir/starts")" 0

[ $failures = 0 ] && echo "all passed"
exit $((failures > 0))
