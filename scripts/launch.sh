#!/usr/bin/env bash
# launch.sh [-n RANKS] [--mpirun|--srun] [--outcome FILE] -- PROGRAM COMMAND [ARGUMENT...]
# Starts `banyan COMMAND ...` on RANKS ranks and makes one exit code of it that a batch script can act on
# (`banyan --print-exit-codes`).
#   launcher  srun inside a Slurm allocation, mpirun otherwise; further options for it in BANYAN_LAUNCH_ARGS
#             a launcher that hangs is ended BANYAN_LAUNCH_GRACE (60) seconds after the ranks left, or when no rank of a training
#             has opened the run directory after BANYAN_LAUNCH_PATIENCE (180, and one for every ten ranks) seconds: until the
#             ranks have found each other nobody else notices that one of them stands still
#   RANKS     default: what Slurm allocated, or one per processor
#   TERM, INT (Ctrl-C), HUP, USR1: ask the job to save at the next step and stop, exit code 75; a second one leaves out what is
#             optional; a third one ends the job at once, and the last checkpoint stands
# The exit code of mpirun or srun is not trusted. Every rank of `banyan train` writes why it left to
# RUN/causes/ATTEMPT.RANK.json, and RUN/causes/ATTEMPT.json carries the name of this launch. From these records:
#   1. the first of 70 76 65 78 73 93 64 74 69 75 that any rank wrote: what must not be retried comes before what may
#   2. 0 when every rank wrote "finished", or rank 0 did and the launcher says 0
#   3. otherwise a rank vanished without a word (killed, or its host is gone): 69
# Without any record the launcher's code is taken if it is one of ours other than 0.
# FILE gets what a batch script must know besides the code, one KEY=VALUE a line:
#   code=69  attempt=7  the attempt's number, empty when no rank got as far as opening the run directory
#   reason=signal       code 75: what asked for the stop (halt-file, signal, time-limit, max-time), empty otherwise
#   lost=n3,n7          hosts of ranks that others missed and that left without a word, or that an audit found to compute
#                       wrongly
set -uo pipefail
early=''
trap 'early=1' TERM INT USR1 HUP  # until there is a job to pass them on to
umask g-w,o=  # what ranks and this script write is not for others; a stricter caller stays so

usage() { sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0" >&2; exit 64; }
say() { echo "launch: $*" >&2; }
attempt='' reason='' lost=''
leave() {
  if [ -n "$outcome" ]; then printf '%s\n' "code=$1" "attempt=$attempt" "reason=$reason" "lost=$lost" >"$outcome"; fi
  exit "$1"
}
# leave_if_asked: for what came before any rank ran; there is nothing to save.
leave_if_asked() {
  [ -n "$early" ] || return 0
  say "asked to stop before any rank was started"
  reason=signal
  leave 75
}

ranks='' launcher='' outcome=''
while [ $# -gt 0 ]; do
  case $1 in
    -n) [ $# -gt 1 ] || usage; ranks=$2; shift 2 ;;
    -n*) ranks=${1#-n}; shift ;;
    --mpirun | --srun) launcher=${1#--}; shift ;;
    --outcome) [ $# -gt 1 ] || usage; outcome=$2; shift 2 ;;
    --) shift; break ;;
    *) usage ;;
  esac
done
[ $# -ge 2 ] || usage
case $ranks in *[!0-9]* | 0) say "-n $ranks is no number of ranks"; exit 64 ;; esac
program=$1 command=$2
program=$(command -v -- "$program") || { say "there is no program $1; build it with: cmake --preset release && cmake --build --preset release"; exit 64; }
shift
if [ -z "$launcher" ]; then
  launcher=mpirun
  if [ -n "${SLURM_JOB_ID:-}" ] && command -v srun >/dev/null; then launcher=srun; fi
fi
command -v "$launcher" >/dev/null || { say "there is no $launcher here; scripts/install-deps.sh installs mpirun"; exit 64; }

# A wrong command line or config is told once, before any rank starts.
causes=''
if [ "$command" = train ]; then
  run_dir=$("$program" "$@" --print-value=run.dir) || { code=$?; leave_if_asked; exit $code; }
  causes=$run_dir/causes
fi

# numbers_above N: the numbers of attempts after N that have a record. By names alone: the ranks of months have left more
# records than a command line takes, and shared storage is slow to open them. As in the program, longer ones are no attempts.
numbers_above() {
  ls -U "$causes" 2>/dev/null |
    awk -F . -v n="$1" '/^[0-9]+\.json$/ && length($1) <= 12 && $1 + 0 > n { print $1 }' | sort -n
}
newest=-1  # a launch gets a number above all that are there
if [ -n "$causes" ]; then newest=$(numbers_above -1 | tail -n 1); fi

BANYAN_LAUNCH=$(hostname).$$.$(date +%s)
export BANYAN_LAUNCH
read -r -a extra <<<"${BANYAN_LAUNCH_ARGS:-}"
if [ "$launcher" = srun ]; then
  start=(srun --kill-on-bad-exit=1 ${ranks:+-n "$ranks"} "${extra[@]}" "$program" "$@")
else
  : "${ranks:=$(nproc)}"
  start=(mpirun --quiet --bind-to none --oversubscribe -x BANYAN_LAUNCH -n "$ranks")
  # Ranks that share a core must let each other run while they wait.
  if [ "$ranks" -gt "$(nproc)" ]; then start+=(--mca mpi_yield_when_idle 1); fi
  # Containers often forbid one process to read another's memory.
  if [ -e /.dockerenv ] || [ -e /run/.containerenv ]; then start+=(--mca btl_vader_single_copy_mechanism none); fi
  if [ "$(id -u)" = 0 ]; then start+=(--allow-run-as-root); fi
  start+=("${extra[@]}" "$program" "$@")
fi

# Job control gives the launcher a process group of its own: Ctrl-C then reaches this script only, which passes on what
# the job understands. Open MPI forwards USR1 to the ranks, and so does srun.
requests=0
request() {
  requests=$((requests + 1))
  case $requests in
    1) say "asked the job to save and stop; once more leaves out what is optional, a third time ends it at once" ;;
    2) say "asked again" ;;
    *) say "ending the job at once"; kill -TERM "$job" 2>/dev/null; return ;;
  esac
  kill -USR1 "$job" 2>/dev/null
}
input=/dev/stdin
if [ -t 0 ]; then input=/dev/null; fi
leave_if_asked
set -m
"${start[@]}" <"$input" &
job=$!
set +m
trap request TERM INT USR1 HUP
if [ -n "$early" ]; then request; fi
# A host that fell off the network takes no orders and reports no end: the launcher would wait for it for ever. Ranks
# leave together, so when the last one to say why it left did so a while ago, nobody else is going to.
hurry() {
  local grace=${BANYAN_LAUNCH_GRACE:-60} patience attempt='' records='' known='' since=$SECONDS stamp='' changed looks=0
  patience=${BANYAN_LAUNCH_PATIENCE:-$((180 + ${ranks:-${SLURM_NTASKS:-1}} / 10))}
  while sleep 1 >/dev/null 2>&1; do  # may outlive this script by a moment: holds no output open
    if [ -z "$attempt" ]; then attempt=$(this_attempt); fi
    if [ -z "$attempt" ]; then
      if [ $SECONDS -lt "$patience" ]; then continue; fi
      say "no rank has opened $run_dir within $patience s; ending $launcher"
    else
      # Lists the directory only after it has changed, and twice more: its time may be as coarse as a second.
      changed=$(stat -c %y "$causes" 2>/dev/null)
      if [ "$changed" != "$stamp" ]; then stamp=$changed looks=3; fi
      if [ $looks -gt 0 ]; then
        looks=$((looks - 1))
        records=$(ls -U "$causes" 2>/dev/null | grep "^$attempt\.[0-9]*\.json$" | sort)
      fi
      # Counted from when the newest record was first seen: its own time is by the file server's clock.
      if [ "$records" != "$known" ]; then known=$records since=$SECONDS; fi
      if [ -z "$records" ] || [ $((SECONDS - since)) -lt "$grace" ]; then continue; fi
      say "$launcher does not end although the ranks left $grace s ago; ending it"
    fi
    kill -TERM "$1" 2>/dev/null
    sleep 5 >/dev/null 2>&1
    kill -KILL "$1" 2>/dev/null
    return
  done
}
field() { sed -n "s/.*\"$2\": *\"\{0,1\}\([^,\"}]*\).*/\1/p" "$1" 2>/dev/null | head -n 1; }
this_attempt() {
  local n
  for n in $(numbers_above "${newest:--1}"); do
    if grep -qs "\"launch\": *\"$BANYAN_LAUNCH\"" "$causes/$n.json"; then echo "$n"; fi
  done | tail -n 1
}
watcher=''
if [ -n "$causes" ]; then
  hurry "$job" &
  watcher=$!
  disown  # no word of how it ended
fi
while :; do
  wait "$job"
  status=$?
  kill -0 "$job" 2>/dev/null || break  # a trapped signal also ends wait
done
trap "" TERM INT USR1 HUP
[ -z "$watcher" ] || kill -KILL "$watcher" 2>/dev/null  # a batch script may have this script ignore TERM

# --- what the launcher's own code is worth without records
ours() { case $1 in 64 | 65 | 69 | 70 | 73 | 74 | 75 | 76 | 78 | 93) return 0 ;; esac; return 1; }
without_records() {
  if ours "$status"; then leave "$status"; fi
  case $status in
    132 | 134 | 135 | 136 | 139) say "$command crashed ($launcher: $status)"; leave 70 ;;
    0) if [ -z "$causes" ]; then leave 0; fi ;;
    138) if [ $requests -gt 0 ]; then reason=signal; leave 75; fi ;;  # asked before the launcher or a rank could listen
  esac
  say "$command ended without a record of why ($launcher: $status)"
  leave 69
}
[ -n "$causes" ] || without_records

attempt=$(this_attempt)
[ -n "$attempt" ] || without_records

codes='' finished=0
for record in "$causes/$attempt".*.json; do
  [ -e "$record" ] || continue
  code=$(field "$record" code)
  codes="$codes $code "
  if [ "$code" = 0 ]; then finished=$((finished + 1)); fi
  if [ "$code" = 75 ]; then reason=$(field "$record" reason); fi
  peer=$(field "$record" peer)
  if [ -n "$peer" ] && { [ ! -e "$causes/$attempt.$peer.json" ] || [ "$(field "$record" reason)" = wrong ]; }; then
    lost="$lost $(field "$record" peer_host)"
  fi
done
lost=$(tr ' ' '\n' <<<"$lost" | sed '/^$/d' | sort -u | paste -sd ,)
for code in 70 76 65 78 73 93 64 74 69 75; do
  case $codes in *" $code "*) ;; *) continue ;; esac
  [ "$code" = 75 ] || reason=''
  # A crash is not told by the rank itself; every other cause was.
  for record in "$causes/$attempt".*.json; do
    if [ "$(field "$record" code)" = "$code" ]; then break; fi
  done
  say "attempt $attempt: exit code $code ($(field "$record" name)), see $record"
  leave "$code"
done
total=$(field "$causes/$attempt.json" ranks)
if [ "$finished" = "$total" ]; then leave 0; fi
if [ "$status" = 0 ] && [ "$(field "$causes/$attempt.0.json" code)" = 0 ]; then leave 0; fi
say "attempt $attempt: only $finished of $total ranks say why they left ($launcher: $status); a rank or its host was lost"
leave 69
