#!/usr/bin/env bash
# scripts/slurm and scripts/mpirun-loop.sh when what they rely on fails as well: Slurm's answers, disks, the last host.
set -uo pipefail
. "$(dirname "$0")/stubs.sh"

# ---- whom Slurm is asked about: the number of one task of an array is that of the array, too
sweep=(SLURM_ARRAY_JOB_ID=5 SLURM_ARRAY_TASK_ID=1 bash "$root/scripts/slurm/array.sbatch" x.ini "$dir/lines")
printf '%s\n' '--a.b=1' >"$dir/lines"
fresh "10 $(stopped signal)"
batch 75 "the task that has the array's number" "${sweep[@]}"
same "that task alone is requeued" "$(asked)" 'requeue 5_1;update JobId=5_1 StartTime=now+2'
same "that task alone is asked about" "$(sort -u "$dir/about" | paste -sd ' ')" '5_1'

# ---- sbatch --export=NONE
fresh "10 $well"
batch 0 "a job with an environment of its own" SLURM_EXPORT_ENV=NONE "${train[@]}"

# ---- no place for what launch.sh tells
for place in "$dir/nowhere" /dev/full; do
  fresh "10 $(stopped halt-file)"
  batch 75 "a person's stop with TMPDIR=$place" TMPDIR="$place" "${train[@]}"
  same "requeued after a person's stop with TMPDIR=$place" "$(asked)" ''
  same "left in the run directory" "$(ls -A "$RUN" | grep outcome)" ''
done
fresh "10 $(stopped halt-file)"
printf '#!/bin/bash\nexit 1\n' >"$dir/bin/mktemp" && chmod +x "$dir/bin/mktemp"
batch 74 "no place at all" "${train[@]}"
rm "$dir/bin/mktemp"
same "starts without a place" "$(starts)" 0
same "later again" "$(asked)" 'requeue 5;update JobId=5 StartTime=now+15'
# A full disk still gives names to files, but takes nothing into them.
fresh "10 $(stopped halt-file)"
printf '#!/bin/bash\ncase "$*" in *$RUN*) exec /bin/mktemp "$@" ;; esac\nln -s /dev/full $STUBS/tmp/o; echo $STUBS/tmp/o\n' \
  >"$dir/bin/mktemp"
chmod +x "$dir/bin/mktemp"
mkdir "$dir/tmp"
batch 75 "a person's stop when TMPDIR is full" TMPDIR="$dir/tmp" "${train[@]}"
rm "$dir/bin/mktemp"
same "requeued after it" "$(asked)" ''

# ---- a run directory that takes no more lines
fresh "10 0:74" "10 0:74" "10 0:74"
mkdir -p "$RUN" && ln -s "$dir/nowhere/ends" "$RUN/ends.txt"
batch 74 "an end that cannot be noted" "${train[@]}"
same "waits as long as it ever does" "$(asked)" 'requeue 5;update JobId=5 StartTime=now+305'
: >"$dir/asked"
batch 74 "the third in a row" SLURM_RESTART_COUNT=2 "${train[@]}"
same "goes on waiting" "$(asked)" 'requeue 5;update JobId=5 StartTime=now+305'
: >"$dir/asked"
batch 93 "the fourth in a row" SLURM_RESTART_COUNT=3 "${train[@]}"
same "stays ended" "$(asked)" ''
fresh "10 0:74" "10 0:74" "10 0:74" "10 0:74" "20 $well"
mkdir -p "$RUN" && ln -s "$dir/nowhere/ends" "$RUN/ends.txt"
loop 93 "a loop that cannot note its ends"
same "starts of it" "$(starts)" 4
# Starts that were noted are not counted again.
ends() { printf '%s\n' "x chain=5 saved=9 action=again" "x chain=6 action=wait" "x chain=5 saved=9 action=wait"; }
same "noted" "$(. "$root/scripts/slurm/lib.sh"; ends | starts_noted 5)" 2

# ---- a controller that is being restarted
waited() { grep -v '^1$' "$dir/slept" | paste -sd ' '; }
fresh "10 $(stopped signal)"
printf '%s\n' 1 2 >"$dir/busy"
batch 75 "requeued at the third try" "${train[@]}"
same "tries" "$(asked)" 'requeue 5;requeue 5;requeue 5;update JobId=5 StartTime=now+2'
same "pauses" "$(waited)" '2 5'
fresh "10 $(stopped signal)"
seq 99 >"$dir/busy"
batch 75 "a controller that stays away" BANYAN_SLURM_PAUSES='3 4' "${train[@]}"
same "tries of it" "$(asked)" 'requeue 5;requeue 5;requeue 5'
grep -q 'does not requeue this job' "$dir/out" || bad "no word that the job stays ended: $(cat "$dir/out")"
fresh "10 $(stopped signal)"
batch 75 "requeueing refused" "REFUSED=Requested operation is presently disabled" "${train[@]}"
same "not asked again" "$(asked)" 'requeue 5'

# ---- how long the job has
for tries in 1 2; do
  fresh "10 $well"
  seq $tries >"$dir/away"
  batch 0 "told how long at try $((tries + 1))" "${train[@]}"
  grep -q -e 'train --run.time_left=3600s' "$dir/starts" || bad "no time limit: $(cat "$dir/starts")"
done
fresh "10 $well"
seq 99 >"$dir/away"
batch 0 "not told how long" "${train[@]}"
same "words about it" "$(grep -c 'does not say how long' "$dir/out")" 1
for left in UNLIMITED N/A; do
  fresh "10 $well"
  batch 0 "$left" LEFT=$left "${train[@]}"
  same "words about $left" "$(grep -c 'how long' "$dir/out")" 0
done

# ---- nodes that the user has excluded
lost_again() {
  fresh "20 $lost"
  mkdir -p "$RUN" && echo "x chain=5 code=69 saved=9 lost=n2 action=wait" >"$RUN/ends.txt"
}
lost_again
batch 69 "some are excluded" EXCLUDED='n[1,3],r[1-2]n[5,7,9],n2' "${train[@]}"
same "brackets stay whole" "$(sed -n 's/.*ExcNodeList=//p' "$dir/asked")" 'n2,n[1,3],r[1-2]n[5,7,9]'
same "words about it" "$(grep -c 'going on without n2' "$dir/out")" 1
lost_again
batch 69 "Slurm excludes nobody" KEEPS=1 "${train[@]}"
same "no words about it" "$(grep -c 'going on without n2' "$dir/out")" 0
grep -q 'does not exclude n2' "$dir/out" || bad "no word that the node stays: $(cat "$dir/out")"

# ---- every host of a loop was lost twice
fresh "10 1:69:0" "20 1:69:0" "30 0:69:2" "40 0:69:2" "50 $well"
loop 93 "no host is left"
same "starts on these hosts" "$(starts)" 4
grep -q 'no host is left' "$dir/out" || bad "no word that no host is left: $(cat "$dir/out")"
same "noted as the end" "$(tail -n 1 "$RUN/ends.txt" | sed 's/.* code=/code=/; s/ .*action=/ action=/')" "code=93 action=stop"

# ---- signals that come when no program runs
# signalled SECONDS SIGNAL: a sleep of so long sends its script that signal.
cp "$dir/bin/sleep" "$dir/sleep"
signalled() {
  printf '%s\n' '#!/bin/bash' "if [ \$1 = $1 ]; then kill -$2 \$PPID; fi" 'exec "$STUBS/sleep" "$@"' >"$dir/bin/sleep"
}
signalled 2 USR1
fresh "10 $(stopped signal)"
echo 1 >"$dir/busy"
batch 75 "a warning while Slurm is busy" "${train[@]}"
same "requeued all the same" "$(asked)" 'requeue 5;requeue 5;update JobId=5 StartTime=now+2'
for signal in TERM HUP; do
  signalled 10 $signal
  fresh "10 $lost" "20 $well"
  loop 69 "a loop that gets $signal while it waits"
  same "starts after $signal" "$(starts)" 1
  grep -q 'told to end' "$dir/out" || bad "no word of $signal: $(cat "$dir/out")"
done
signalled 10 USR1
fresh "10 $lost" "20 $well"
loop 0 "a loop that gets USR1 while it waits"
same "starts after USR1" "$(starts)" 2
cp "$dir/sleep" "$dir/bin/sleep"
# In the preflight: nothing is started, and nobody is to blame for what was ended with it.
for check in true false; do
  fresh "10 $well"
  export BANYAN_NODE_CHECK="kill -TERM \$(cat \$STUBS/pid); $check || [ \$SLURMD_NODENAME = n1 ]"
  check 75 "a loop that gets TERM in the preflight" \
    bash -c 'echo $$ >"$STUBS/pid"; exec "$@"' bash "$root/scripts/mpirun-loop.sh" --hosts n1:2,n2:2 x.ini
  same "started after TERM" "$(starts)" 0
  same "lost to TERM" "$(sed -n 's/.* lost=\([^ ]*\) .*/\1/p' "$RUN/ends.txt")" ''
done
unset BANYAN_NODE_CHECK

# ---- generate writes over what an earlier start of the same job left, and over nothing else
printf '%s\n' '#!/bin/bash' '[[ $* = *" generate "* ]] || exec "${0%/*}/mpirun" "$@"' 'echo "$*" >>"$STUBS/starts"' \
  ': >>"$STUBS/answers"' 'exit 69' >"$dir/bin/srun"
for write in "--out $dir/answers" "--out=$dir/answers"; do
  write=(bash "$root/scripts/slurm/generate.sbatch" x.ini --jsonl in $write)
  fresh && rm -f "$dir/answers"
  batch 69 "a first start" "${write[@]}"
  batch 69 "a second start" SLURM_RESTART_COUNT=1 "${write[@]}"
  same "written over" "$(grep -c -e "answers --force" "$dir/starts")" 1
  batch 69 "a start that gives up" SLURM_RESTART_COUNT=3 "${write[@]}"
  same "left beside the answers" "$(ls "$dir" | grep answers)" answers
  fresh
  batch 69 "answers of somebody else" SLURM_JOB_ID=7 "${write[@]}"
  batch 69 "answers of somebody else, again" SLURM_JOB_ID=7 SLURM_RESTART_COUNT=1 "${write[@]}"
  same "written over" "$(grep -c -e --force "$dir/starts")" 0
  fresh && rm -f "$dir/answers"
  batch 69 "a start that does not come to write" SICK=n2 "${write[@]}"
  echo theirs >"$dir/answers"
  batch 69 "answers of somebody else meanwhile" SLURM_RESTART_COUNT=1 "${write[@]}"
  same "written over" "$(grep -c -e --force "$dir/starts")" 0
  rm -f "$dir"/answers*
done
# What a prompt looks like does not matter, nor where an option ends without its value.
batch 69 "a prompt that looks like an option" "${write[@]}" --prompt "see https://h/p/-/merge"
batch 78 "an option without its value" "${write[@]}" --wrong --out

[ $failures = 0 ] && echo "all passed"
exit $((failures > 0))
