#!/usr/bin/env bash
# lib.sh: what train.sbatch, generate.sbatch, array.sbatch and scripts/mpirun-loop.sh have in common.
#   . lib.sh                     first decisions without side effects (tests/scripts/slurm_test.sh), then what acts on them
#   lib.sh grace RUN             seconds to ask Slurm for before a job ends: sbatch --signal=B:USR1@$(lib.sh grace RUN) ...
#   lib.sh node-check ...        what the preflight (preflight.sh) runs once on every node
set -uo pipefail
umask g-w,o=  # run directories are 0750 and their files 0640, whoever makes them; a stricter caller stays so

home=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
banyan=${BANYAN:-$home/build/release/banyan}
# Seconds to wait after the first, second ... failure in a row that saved nothing new; after more of them a person must look.
read -r -a waits <<<"${BANYAN_BACKOFF:-10 60 300}"
# Seconds between tries while Slurm does not answer: its controller is restarted, or busy.
read -r -a pauses <<<"${BANYAN_SLURM_PAUSES:-2 5 10 20 40 40}"

say() { echo "$(date -u +%FT%TZ) $*" >&2; }

. "$home/scripts/slurm/preflight.sh"

# ------------------------------------------------------------------------------------------------------------ decisions

# next_action CODE REASON ATTEMPT: what an end of the program calls for: done, again (at once), wait (a while, then again)
# or stop (a person must look, or wanted it). ATTEMPT is empty when no rank opened the run directory: a crash before that
# is the MPI library's or the node's.
next_action() {
  case $1/$2 in
    0/*) echo done ;;
    75/halt-file) echo stop ;;
    75/*) echo again ;;
    69/* | 74/*) echo wait ;;
    70/*) if [ -z "$3" ]; then echo wait; else echo stop; fi ;;
    *) echo stop ;;
  esac
}

# failures CHAIN SAVED <ends.txt: how often this chain of starts has failed in a row without a newer checkpoint.
failures() {
  awk -v chain="chain=$1" -v saved="saved=$2" '
    { mine = failed = same = 0
      for (i = 1; i <= NF; ++i) { mine += $i == chain; failed += $i == "action=wait"; same += $i == saved } }
    mine { n = failed && same ? n + 1 : 0 }
    END { print n + 0 }'
}

# backoff FAILURES: seconds to wait after so many of them; nothing when they are too many.
backoff() {
  if [ "$1" = 0 ]; then echo 0; elif [ "$1" -le ${#waits[@]} ]; then echo "${waits[$1 - 1]}"; fi
}

# starts_noted CHAIN <ends.txt: how many of this chain have a line.
starts_noted() { awk -v chain="chain=$1" '{ for (i = 1; i <= NF; ++i) n += $i == chain } END { print n + 0 }'; }

# failed_twice CHAIN <ends.txt: nodes that this chain of starts has lost at least twice, "n3,n7".
failed_twice() {
  awk -v chain="chain=$1" '
    { mine = 0; for (i = 1; i <= NF; ++i) mine += $i == chain }
    mine { for (i = 1; i <= NF; ++i) if (sub(/^lost=/, "", $i)) { n = split($i, hosts, ","); for (h = 1; h <= n; ++h) ++lost[hosts[h]] } }
    END { for (h in lost) if (lost[h] >= 2) print h }' | sort | paste -sd ,
}

# chain_end CHAIN <ends.txt: the exit code with which this chain of starts has ended for good; nothing while it goes on.
chain_end() {
  awk -v chain="chain=$1" '
    { mine = 0; for (i = 1; i <= NF; ++i) mine += $i == chain }
    mine { code = ""; over = 0
           for (i = 1; i <= NF; ++i) { if ($i ~ /^code=/) code = substr($i, 6); over += $i ~ /^action=(done|stop)$/ } }
    END { if (over) print code }'
}

# without_hosts HOSTS BAD: "n1:8,n2:8" without those of "n2,n5".
without_hosts() {
  awk -v hosts="$1" -v bad="$2" 'BEGIN {
    n = split(bad, b, ","); for (i = 1; i <= n; ++i) gone[b[i]] = 1
    n = split(hosts, h, ",")
    for (i = 1; i <= n; ++i) { name = h[i]; sub(/:.*/, "", name); if (!gone[name]) out = out (out == "" ? "" : ",") h[i] }
    print out }'
}

# places HOSTS: ranks that fit: "n1:8,n2" is 9.
places() { awk -v hosts="$1" 'BEGIN { n = split(hosts, h, ","); for (i = 1; i <= n; ++i) p += split(h[i], x, ":") == 2 ? x[2] : 1; print p + 0 }'; }

# data_files LIST: the paths of "PATH:WEIGHT, PATH", one a line.
data_files() { tr ',' '\n' <<<"$1" | sed 's/^[ \t]*//; s/[ \t]*$//; s/:[0-9.eE+-]*$//; /^$/d'; }

# join_lists A B: two lists separated by commas, but not within brackets (n[1,3]), as one without repetitions.
join_lists() {
  sed ':more; s/\(\[[^],]*\),/\1;/; t more' <<<"$1,$2" | tr ',' '\n' | sed '/^$/d' |
    LC_ALL=C sort -u | paste -sd , | tr ';' ','
}

# seconds_of TIME: Slurm's "4-02:00:00", "2:00:00", "30:00" or "45" in seconds; nothing for UNLIMITED, INVALID, NOT_SET.
seconds_of() {
  awk -v text="$1" 'BEGIN {
    if (text !~ /^([0-9]+-)?[0-9]+(:[0-9]+)?(:[0-9]+)?$/) exit
    if (split(text, d, "-") == 2) { days = d[1]; text = d[2] }
    n = split(text, t, ":")
    if (days != "") { for (i = n + 1; i <= 3; ++i) t[i] = 0; n = 3 }  # days-hours[:minutes[:seconds]]
    for (i = 1; i <= n; ++i) s = s * 60 + t[i]
    print days * 86400 + s }'
}

# p99 <saves.jsonl: of the newest hundred, in whole seconds; nothing when there are none.
p99() {
  tail -n 100 | sed -n 's/.*"seconds": *\([0-9.e+-]*\).*/\1/p' | sort -g |
    awk '{ s[NR] = $1 } END { if (NR) { r = int(0.99 * NR); if (r < 0.99 * NR) ++r; t = int(s[r]); print t < s[r] ? t + 1 : t } }'
}

# fate RESTARTS <scontrol show job -o: may this job be requeued after it was told to end? RESTARTS is how often it had been
# when it started. running (yes, also after its time limit), requeued (by Slurm already), cancelled, or unknown.
fate() {
  local text state reason restarts
  text=" $(cat) "
  state=$(sed -n 's/.* JobState=\([A-Z_]*\).*/\1/p' <<<"$text")
  reason=$(sed -n 's/.* Reason=\([A-Za-z]*\).*/\1/p' <<<"$text")
  restarts=$(sed -n 's/.* Restarts=\([0-9]*\).*/\1/p' <<<"$text")
  if [ -z "$state" ]; then
    echo unknown
  elif [ "${restarts:-0}" -gt "$1" ] || [ "$state" = PENDING ]; then
    echo requeued
  elif [ "$state" = RUNNING ] || [ "$reason" = TimeLimit ]; then
    echo running
  else
    echo cancelled  # COMPLETING for no reason of Slurm's: scancel
  fi
}

# ------------------------------------------------------------------------------------------------------------ one start

chain='' nodes='' ends='' launcher='' slurm_job='' unnoted=0 launch_options=() told_to_end=''

# Asks Slurm about this job; nothing where it cannot be asked.
job_facts() { timeout 20 scontrol show job -o "$slurm_job" 2>/dev/null; }

# Seconds until Slurm ends this job; nothing when it has no limit, or when Slurm does not tell.
time_left() {
  local pause left
  [ -n "$slurm_job" ] || return 0
  for pause in "${pauses[@]:0:3}" ''; do
    left=$(timeout 20 squeue -h -j "$slurm_job" -o %L 2>/dev/null | tr -d ' ' | head -n 1)
    if [ -n "$left" ]; then seconds_of "$left"; return; fi
    if [ -n "$pause" ]; then sleep "$pause"; fi
  done
  say "Slurm does not say how long this job has; only its warning (--signal) will make it leave in time"
}

# in_slurm [CHAIN]: sets what all starts of this job have in common. CHAIN names them in ends.txt; a requeued job keeps its id.
in_slurm() {
  # The SLURM_JOB_ID of one task of an array is the array's, and Slurm takes that number for all its tasks.
  slurm_job=${SLURM_ARRAY_TASK_ID:+${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}_$SLURM_ARRAY_TASK_ID}
  slurm_job=${slurm_job:-$SLURM_JOB_ID}
  export SLURM_EXPORT_ENV=ALL  # after sbatch --export=NONE the ranks would not get what this script sets
  chain=${1:-$SLURM_JOB_ID} launcher=${BANYAN_LAUNCHER:-srun}
  trap 'told_to_end=1' TERM
  trap : USR1  # before the program runs; it will see for itself that time is short
  if [ "$launcher" = mpirun ]; then launch_options=(-n "${SLURM_NTASKS:-$SLURM_JOB_NUM_NODES}"); fi
  nodes=$(timeout 20 scontrol show hostnames "$SLURM_JOB_NODELIST" | paste -sd ' ')
  export BANYAN_LAUNCH_GRACE=${BANYAN_LAUNCH_GRACE:-30}
  if [ "$launcher" = srun ] && [[ ${BANYAN_LAUNCH_ARGS:-} != *--mpi* ]] && srun --mpi=list 2>&1 | grep -w pmix >/dev/null; then
    export BANYAN_LAUNCH_ARGS="--mpi=pmix ${BANYAN_LAUNCH_ARGS:-}"
  fi
}

# on_hosts HOSTS RANKS: the same without Slurm; both may be empty.
on_hosts() {
  chain=${chain:-loop.$(hostname).$$.$(date +%s)} launcher=mpirun nodes=$(hostname)
  trap 'told_to_end=1' TERM INT HUP
  trap : USR1
  plain_launch_args=${plain_launch_args-${BANYAN_LAUNCH_ARGS:-}}
  launch_options=(${2:+-n "$2"})
  [ -n "$1" ] || return 0
  nodes=$(tr , '\n' <<<"$1" | cut -d : -f 1 | paste -sd ' ')
  launch_options=(-n "${2:-$(places "$1")}")
  export BANYAN_LAUNCH_ARGS="--host $1 $plain_launch_args"
}

# each_node shells|ranks COMMAND...: once on every node of the job, by itself or as ranks of one MPI job, which ends as a whole
# when one of them fails: the others would wait for it. Not into a pipe: what a launcher that was killed leaves behind holds it.
each_node() {
  local kind=$1 extra together=0 node only=()
  shift
  if [ "$kind" = ranks ]; then together=1; fi
  read -r -a extra <<<"${BANYAN_LAUNCH_ARGS:-}"
  if [ "$launcher/$kind" = srun/shells ]; then extra=(--mpi=none); fi
  if [ "$launcher" = srun ]; then
    timeout -k 5 60 srun "${extra[@]}" --ntasks-per-node=1 --ntasks="$(wc -w <<<"$nodes")" --overcommit --kill-on-bad-exit=$together "$@"
    return
  fi
  if [ "$(id -u)" = 0 ]; then extra+=(--allow-run-as-root); fi
  if [ "$kind" = ranks ]; then
    timeout -k 5 60 mpirun --quiet --bind-to none --map-by ppr:1:node "${extra[@]}" "$@"
    return
  fi
  # mpirun starts nothing anywhere when one host cannot be reached: each is asked by itself.
  read -r -a extra <<<"${plain_launch_args-${BANYAN_LAUNCH_ARGS:-}}"
  if [ "$(id -u)" = 0 ]; then extra+=(--allow-run-as-root); fi
  for node in $nodes; do
    while [ "$(jobs -rp | wc -l)" -ge 64 ]; do wait -n; done
    if [ "$nodes" != "$node" ]; then only=(--host "$node"); fi
    timeout -k 5 60 mpirun --quiet --bind-to none "${only[@]}" "${extra[@]}" -n 1 "$@" &
  done
  wait
}

# ranks_on NODES COMMAND...: one rank on each of NODES ("n1 n2") as one MPI job of at most 20 s.
ranks_on() {
  local extra some=${1// /,} n
  n=$(wc -w <<<"$1")
  shift
  if [ "$launcher" = srun ]; then
    read -r -a extra <<<"${BANYAN_LAUNCH_ARGS:-}"
    # Beside other steps on these nodes, and one that has not quite ended; a Slurm of before --overlap does so anyway.
    SLURM_OVERLAP=1 timeout -k 5 20 srun "${extra[@]}" --nodelist="$some" --nodes="$n" --ntasks="$n" --ntasks-per-node=1 --overcommit \
      --kill-on-bad-exit=1 "$@"
    return
  fi
  read -r -a extra <<<"${plain_launch_args-${BANYAN_LAUNCH_ARGS:-}}"
  if [ "$(id -u)" = 0 ]; then extra+=(--allow-run-as-root); fi
  # Whose daemons are a step of Slurm.
  SLURM_OVERLAP=1 timeout -k 5 20 mpirun --quiet --bind-to none --map-by ppr:1:node --host "$some" "${extra[@]}" "$@"
}

# Newest step that is committed, or that an attempt found on its nodes (checkpoint.local); 0 before the first.
saved_step() {
  { ls "$run_dir/ckpt"; sed -n 's,.*"name":"local/\(step-[0-9.e]*\)".*,\1,p' "$run_dir"/lease/*/BASE || true; } 2>/dev/null |
    sed -n 's/^step-0*\([0-9]\{1,\}\)\.e[0-9]*$/\1/p' | sort -n | tail -n 1 | grep . || echo 0
}

# A new file that takes the few lines of launch.sh: the temporary directory may be full, or not there.
outcome_file() {
  local place file
  for place in "${TMPDIR:-/tmp}" "${run_dir:-.}"; do
    file=$(mktemp -p "$place" .outcome.XXXXXXXX 2>/dev/null) || continue
    if printf '%0512d' 0 2>/dev/null >"$file" && : >"$file"; then echo "$file"; return; fi
    rm -f "$file"
  done
  say "neither ${TMPDIR:-/tmp} nor ${run_dir:-.} takes a small file"
  return 1
}

# start COMMAND ARGUMENT...: launch.sh, with USR1 passed on to it; sets code, attempt, reason, lost.
start() {
  local outcome child
  attempt='' reason='' lost=''
  # Without the reason a stop that a person asked for would look like one to come back from.
  outcome=$(outcome_file) || { code=74; return; }
  # Slurm sends TERM to the ranks itself; a launcher that passed it on too would make it count twice.
  ( [ -z "${SLURM_JOB_ID:-}" ] || trap '' TERM
    exec "$home/scripts/launch.sh" --outcome "$outcome" "--$launcher" "${launch_options[@]}" -- "$banyan" "$@" ) &
  child=$!
  trap 'kill -USR1 $child 2>/dev/null' USR1
  trap 'told_to_end=1; [ -n "${SLURM_JOB_ID:-}" ] || kill -TERM $child 2>/dev/null' TERM INT HUP
  while :; do
    wait $child
    code=$?
    kill -0 $child 2>/dev/null || break  # a trapped signal also ends wait
  done
  trap : USR1
  trap 'told_to_end=1' TERM INT HUP
  told() { sed -n "s/^$1=//p" "$outcome"; }
  attempt=$(told attempt) reason=$(told reason) lost=$(told lost)
  if [ -s "$outcome" ]; then code=$(told code); fi
  rm -f "$outcome"
}

# train_once ARGUMENT...: one start of `banyan train`; sets code, attempt, reason, lost, action and delay, and notes the end.
train_once() {
  local left n fit=''
  code=0 attempt='' reason='' lost='' saved=0 delay=0
  run_dir=$("$banyan" train "$@" --print-value=run.dir) || { code=$? action=stop; return; }
  if [ -e "$run_dir/stop" ] && ! grep -q '^at-step' "$run_dir/stop"; then
    say "somebody asked for a stop before this start"
    "$banyan" stop "$run_dir" --cancel >&2
    code=75 reason=halt-file
  else
    if preflight "$@"; then fit=yes; fi
    if [ -n "$told_to_end" ]; then
      code=75 reason=signal lost=''  # whom the preflight was asking was told as well
    elif [ -n "$fit" ]; then
      left=$(time_left)
      if [ "$left" = 0 ]; then left=1; fi  # 0 would mean no limit
      start train ${left:+"--run.time_left=${left}s"} "$@"
    fi
  fi

  saved=$(saved_step) action=$(settled "$(next_action "$code" "$reason" "$attempt")")
  note_end || unnoted=$((unnoted + 1))
  if [ "$action" != wait ]; then return; fi
  n=$(in_ends failures "$chain" "$saved")
  if [ "$unnoted" -gt 0 ]; then n=$((n + $(starts_unnoted))); fi
  delay=$(backoff "$n")
  # A disk that takes no line is seldom a matter of seconds.
  if [ "$unnoted" -gt 0 ] && [ -n "$delay" ]; then delay=${waits[*]: -1}; fi
  if [ -n "$delay" ]; then return; fi
  say "failed $n times in a row without a newer checkpoint; not started again"
  code=93 action=stop
  note_end
}

# in_ends COMMAND ARGUMENT...: what it finds in ends.txt ($ends where that is another file), or in nothing.
in_ends() {
  local ends=${ends:-$run_dir/ends.txt}
  if [ -r "$ends" ]; then "$@" <"$ends"; else "$@" </dev/null; fi
}

# Starts of this chain without a line: those of this script, or those that Slurm has counted. Nodes lost under this
# script count, too: better to end early than never.
starts_unnoted() {
  local n=0
  if [ -n "$slurm_job" ]; then n=$((${SLURM_RESTART_COUNT:-0} + 1 - $(in_ends starts_noted "$chain"))); fi
  if [ "$n" -gt "$unnoted" ]; then echo "$n"; else echo "$unnoted"; fi
}

# One line for people, and for the decisions of later starts. False when it cannot be written.
note_end() {
  local noted=0
  mkdir -p "$run_dir" 2>/dev/null
  echo "$(date -u +%FT%TZ) chain=$chain attempt=$attempt code=$code reason=$reason saved=$saved lost=$lost action=$action" \
    2>/dev/null >>"$run_dir/ends.txt" || { noted=1; say "cannot write $run_dir/ends.txt"; }
  say "ended with $code${reason:+ ($reason)}, step $saved is saved: $action"
  return $noted
}

# rest SECONDS: sleeps until a signal comes.
rest() {
  sleep "$1" &
  wait $!
  kill $! 2>/dev/null
}

# settled ACTION: the same, unless somebody has told this start to end and its chain with it.
settled() {
  local fate=cancelled
  if [ -n "${SLURM_JOB_ID:-}" ] && [ -n "$told_to_end" ]; then fate=$(job_facts | fate "${SLURM_RESTART_COUNT:-0}"); fi
  case $1/$told_to_end/$fate in
    again/1/cancelled | wait/1/cancelled) say "this job was told to end; it stays ended"; echo stop ;;
    again/1/requeued | wait/1/requeued) say "Slurm has requeued this job already"; echo requeued ;;
    *) echo "$1" ;;
  esac
}

# back_in_queue: has Slurm requeue this job. False when it refuses, or does not answer for two minutes.
back_in_queue() {
  local pause said
  for pause in "${pauses[@]}" ''; do
    said=$(scontrol requeue "$slurm_job" 2>&1) && return
    case $said in
      *"pending execution"*) return ;;  # the try before was heard after all
      *disabled* | *denied* | *"not permitted"* | *"not supported"* | *"Invalid job id"*) break ;;
    esac
    if [ -n "$pause" ]; then say "Slurm does not requeue this job now; again in $pause s: $said"; sleep "$pause"; fi
  done
  say "scontrol requeue $slurm_job: $said"
  return 1
}

# requeue: this job, in $delay seconds, without nodes it has lost twice. Says so when Slurm does not do it.
requeue() {
  local excluded lost_twice=''
  trap '' TERM  # requeueing ends this script and everything it has started
  excluded=$(job_facts | sed -n 's/.* ExcNodeList=\([^ ]*\).*/\1/p')
  # No `timeout` from here on: it would answer TERM, whatever it inherits.
  back_in_queue ||
    { say "Slurm does not requeue this job; sbatch it again, next time as a chain (--array=1-20%1)"; return; }
  # Slurm would wait two minutes. The 5 s make the shortest wait after a lost node longer than Slurm knocks there (11 s) to
  # have it end this start: who comes back meanwhile would end the next one, which has the same number.
  if [ "$delay" -gt 0 ]; then delay=$((delay + 3)); fi
  scontrol update JobId="$slurm_job" StartTime="now+$((delay + 2))" || say "Slurm keeps its own delay"
  if [ -n "${run_dir:-}${ends:-}" ]; then lost_twice=$(in_ends failed_twice "$chain"); fi
  [ -n "$lost_twice" ] || return
  if scontrol update JobId="$slurm_job" ExcNodeList="$(join_lists "${excluded#(null)}" "$lost_twice")"; then
    say "going on without $lost_twice"
  else
    say "Slurm does not exclude $lost_twice"
  fi
}

# train_link ARGUMENT...: one job of a chain; when an earlier one has ended the chain, the others end with its code.
train_link() {
  run_dir=$("$banyan" train "$@" --print-value=run.dir) || { code=$?; return; }
  code=$(in_ends chain_end "$chain")
  if [ -n "$code" ]; then say "an earlier job of this chain has ended it"; return; fi
  train_once "$@"
  case $action in
    done | stop) scancel --state=PENDING "$chain" 2>/dev/null ;;
    wait) rest "$delay" ;;
  esac
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  case ${1:-} in
    node-check) shift; node_check "$@" ;;
    grace)
      slowest=$(p99 <"${2:?}/saves.jsonl" 2>/dev/null)
      # One save may be on its way when the last begins.  Slurm may be a minute early; and time to leave.
      echo $((2 * ${slowest:-60} + 60 + 30)) ;;
    *) sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
  esac
fi
