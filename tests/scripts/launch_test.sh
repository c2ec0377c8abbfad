#!/usr/bin/env bash
# scripts/launch.sh with a made-up mpirun and program: which exit code comes of which records, and what becomes of signals.
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/bin"
export PATH=$dir/bin:$PATH RUN=$dir/run
unset SLURM_JOB_ID BANYAN_LAUNCH_ARGS

cat >"$dir/bin/banyan" <<'END'
#!/bin/sh
case "$*" in
  *--wrong*) echo "error: wrong" >&2; exit 78 ;;
  *--slow*) touch "$RUN.asked"; sleep 0.5; echo "$RUN" ;;
  *--print-value=run.dir*) echo "$RUN" ;;
esac
END
# Writes the records of RECORDS ("rank:code[:reason|:peer] ..."; ranks of the job in RANKS), of the time DATED, leaves
# with STATUS; counts USR1 when WAIT, until there were so many or for LAST twentieths of a second.
cat >"$dir/bin/mpirun" <<'END'
#!/bin/bash
echo "$*" >"$RUN.args"
if [ -n "${DEAF:-}" ]; then exec sleep 20; fi
mkdir -p "$RUN/causes"
if [ -n "${RECORDS+x}" ]; then
  echo "{\"attempt\": 7, \"launch\": \"$BANYAN_LAUNCH\", \"command\": \"train\", \"ranks\": $RANKS}" >"$RUN/causes/7.json"
fi
for r in ${RECORDS:-}; do
  IFS=: read -r rank code word <<<"$r"
  case $word in '') ;; [0-9]*wrong) word=${word%wrong} word=",\"reason\":\"wrong\",\"peer\":$word,\"peer_host\":\"n$word\"" ;; [0-9]*) word=",\"peer\":$word,\"peer_host\":\"n$word\"" ;; *) word=",\"reason\":\"$word\"" ;; esac
  echo "{\"attempt\":7,\"rank\":$rank,\"host\":\"n\",\"code\":$code,\"name\":\"x\",\"message\":\"\\\"code\\\": 70, \"$word}" >"$RUN/causes/7.$rank.json"
done
if [ -n "${DATED:-}" ]; then touch -d "$DATED" "$RUN"/causes/*; fi
if [ -n "${WAIT:-}" ]; then
  got=0
  trap 'got=$((got + 1))' USR1
  trap 'echo "$got term" >"$RUN.got"; exit 143' TERM
  echo ready >"$RUN.ready"
  for i in $(seq ${LAST:-400}); do sleep 0.05; if [ "$got" -ge "$WAIT" ]; then break; fi; done
  echo "$got" >"$RUN.got"
fi
exit "${STATUS:-0}"
END
chmod +x "$dir"/bin/*

failures=0
check() {  # check WANTED WHAT COMMAND...
  local wanted=$1 what=$2
  shift 2
  rm -rf "$RUN"
  "$@" >"$dir/out" 2>&1
  local got=$?
  if [ "$got" = "$wanted" ]; then return; fi
  echo "FAILED: $what: exit code $got, wanted $wanted"
  cat "$dir/out"
  failures=$((failures + 1))
}
job() { env "${@:1}" "$root/scripts/launch.sh" -n 4 --mpirun -- banyan train x.ini; }

check 69 "the ranks are gone, the launcher stays" job RANKS=2 RECORDS="0:69 1:69" WAIT=1000 BANYAN_LAUNCH_GRACE=1
grep -q "0 term" "$RUN.got" || { echo "FAILED: the launcher was not ended"; failures=$((failures + 1)); }
# The clock of the file server is not this machine's.
for dated in "1 hour ago" "1 hour"; do
  old=(DATED="$dated" RANKS=2 RECORDS="0:69 1:69" WAIT=1000)
  check 69 "records of $dated, a launcher that takes a while" job "${old[@]}" LAST=80
  [ "$(cat "$RUN.got")" = 0 ] ||
    { echo "FAILED: records of $dated: the launcher was ended early"; failures=$((failures + 1)); }
  check 69 "records of $dated, the launcher stays" job "${old[@]}" BANYAN_LAUNCH_GRACE=1
  grep -q "0 term" "$RUN.got" ||
    { echo "FAILED: records of $dated: the launcher was not ended"; failures=$((failures + 1)); }
done
check 69 "no rank ever starts" job WAIT=1000 BANYAN_LAUNCH_PATIENCE=1
grep -q "no rank has opened" "$dir/out" || { echo "FAILED: no word of ranks that do not start"; failures=$((failures + 1)); }
# late SECONDS RANKS [VARIABLE=VALUE]: no rank ever starts; the script looks as if it had run for 2 s less.
late() { env "${@:3}" WAIT=1000 SECONDS=$(($1 - 2)) "$root/scripts/launch.sh" -n "$2" --mpirun -- banyan train x.ini; }
for case in "180 4" "180 4 SLURM_NTASKS=999" "280 1000" "7 1000 BANYAN_LAUNCH_PATIENCE=7"; do
  # shellcheck disable=SC2086
  check 69 "no start of $case" late $case
  grep -q "within ${case%% *} s" "$dir/out" || { echo "FAILED: other patience than $case"; cat "$dir/out"; failures=$((failures + 1)); }
done
check 0 "all finished" job RANKS=2 RECORDS="0:0 1:0" STATUS=0
check 0 "all finished, launcher grumbles" job RANKS=2 RECORDS="0:0 1:0" STATUS=1
check 0 "rank 0 finished, launcher agrees" job RANKS=2 RECORDS="0:0" STATUS=0
check 69 "rank 0 finished, launcher disagrees" job RANKS=2 RECORDS="0:0" STATUS=137
check 69 "rank 1 alone finished" job RANKS=2 RECORDS="1:0" STATUS=0
check 69 "no rank says anything" job RANKS=2 RECORDS="" STATUS=0
check 69 "killed before any record" job STATUS=137
check 69 "launcher's 0 without a record" job STATUS=0
check 70 "crashed before any record" job STATUS=139
check 93 "no progress" job RANKS=2 RECORDS="0:93 1:93" STATUS=93
check 78 "left before the run directory was opened" job STATUS=78
check 75 "stopped" job RANKS=2 RECORDS="0:75 1:75" STATUS=75
check 75 "stopped, launcher says 0" job RANKS=2 RECORDS="0:75 1:75" STATUS=0
check 69 "one stopped, one lost a peer" job RANKS=2 RECORDS="0:75 1:69" STATUS=0
check 74 "one disk, others lost a peer" job RANKS=3 RECORDS="0:69 1:74 2:69" STATUS=69
check 76 "numbers before everything that may be retried" job RANKS=3 RECORDS="0:69 1:74 2:76" STATUS=69
check 70 "a bug first of all" job RANKS=3 RECORDS="0:76 1:70 2:69" STATUS=69
check 78 "wrong config, no rank started" "$root/scripts/launch.sh" -n 4 --mpirun -- banyan train x.ini --wrong
check 0 "commands without a run directory" "$root/scripts/launch.sh" --mpirun -- banyan generate x.ini
check 64 "no command" "$root/scripts/launch.sh" -n 4
check 64 "no such program" "$root/scripts/launch.sh" -n 4 --mpirun -- "$dir/absent" train x.ini
check 64 "no number" "$root/scripts/launch.sh" -n four --mpirun -- banyan train x.ini

# What a batch script is told besides the code.
outcome() {  # outcome CODE WANTED VARIABLE=VALUE...
  check "$1" "the outcome of ${*:3}" env "${@:3}" "$root/scripts/launch.sh" -n 4 --mpirun --outcome "$dir/outcome" -- banyan train x.ini
  local got
  got=$(paste -sd ' ' "$dir/outcome")
  [ "$got" = "code=$1 $2" ] || { echo "FAILED: ${*:3}: $got"; failures=$((failures + 1)); }
}
outcome 0 "attempt=7 reason= lost=" RANKS=1 RECORDS="0:0"
outcome 75 "attempt=7 reason=halt-file lost=" RANKS=2 RECORDS="0:75:halt-file 1:75:halt-file"
outcome 69 "attempt=7 reason= lost=n2,n3" RANKS=4 RECORDS="0:69:2 1:69:3"
outcome 69 "attempt=7 reason= lost=" RANKS=2 RECORDS="0:75:signal 1:69:0"
outcome 69 "attempt=7 reason= lost=n1" RANKS=2 RECORDS="0:69:1wrong 1:69:1wrong"
outcome 74 "attempt=7 reason= lost=" RANKS=2 RECORDS="0:74 1:74:0"
outcome 70 "attempt= reason= lost=" STATUS=139
outcome 69 "attempt= reason= lost=" STATUS=137

# What is written is not for others, and no more for the group than the caller wants.
for mask in 022=640 000=640 077=600; do
  rm -f "$dir/outcome"
  umask "${mask%=*}"
  outcome 0 "attempt=7 reason= lost=" RANKS=1 RECORDS="0:0"
  got=$(stat -c %a "$dir/outcome" "$RUN/causes/7.json" | sort -u)
  [ "$got" = "${mask#*=}" ] || { echo "FAILED: under umask ${mask%=*} files are $got"; failures=$((failures + 1)); }
done
umask 022

# Records of another launch are not ours.
stale() {
  mkdir -p "$RUN/causes"
  echo '{"attempt": 9, "launch": "other", "ranks": 1}' >"$RUN/causes/9.json"
  echo '{"attempt":9,"rank":0,"code":0}' >"$RUN/causes/9.0.json"
  job STATUS=73
}
check 73 "a record of another launch" stale

# Thousands of records of earlier attempts, more than a command line takes, do not hide the one of this launch.
crowd() { mkdir -p "$RUN/causes" && for ((i = 0; i < 6000; i++)); do : >"$RUN/causes/$((i / 1000 + 1)).$((i % 1000)).json"; done; }
crowded() (
  crowd
  touch "$RUN/causes/9999999999999999999.json" "$RUN"/causes/{1..6}.json
  ulimit -s 256  # a command line may be as long as half of this, at least
  job "$@"
)
check 0 "many records" crowded RANKS=2 RECORDS="0:0 1:0" WAIT=1000 LAST=60 BANYAN_LAUNCH_PATIENCE=1
check 69 "many records, the launcher stays" crowded RANKS=2 RECORDS="0:69 1:69" WAIT=1000 BANYAN_LAUNCH_GRACE=1
grep -q "0 term" "$RUN.got" || { echo "FAILED: it was not ended among many records"; failures=$((failures + 1)); }

# While nothing changes, the directory is not read again each second, nor is the record of the attempt.
watched() {
  mkdir "$dir/slow"
  for tool in ls grep; do
    printf '%s\n' '#!/bin/bash' "[[ \"\$*\" != *$RUN/* ]] || echo $tool >>$dir/looked" \
      "exec $(type -P $tool) \"\$@\"" >"$dir/slow/$tool"
  done
  printf '%s\n' '#!/bin/bash' 'exec /bin/sleep 0.05' >"$dir/slow/sleep"
  chmod +x "$dir"/slow/*
  job PATH="$dir/slow:$PATH" RANKS=2 RECORDS="" WAIT=1000 LAST=60 BANYAN_LAUNCH_PATIENCE=20
}
check 69 "a long attempt" watched
got=$(wc -l <"$dir/looked")
[ "$got" -le 12 ] || { echo "FAILED: looked at the records $got times"; failures=$((failures + 1)); }

# One signal becomes one USR1; the third ends the job.
signalled() {  # signalled SIGNAL TIMES
  rm -f "$RUN.ready" "$RUN.got"
  WAIT=$3 RANKS=1 RECORDS="0:75" STATUS=75 "$root/scripts/launch.sh" -n 1 --mpirun -- banyan train x.ini &
  local pid=$! i
  until [ -e "$RUN.ready" ]; do sleep 0.05; done
  for ((i = 0; i < $2; i++)); do kill -"$1" $pid; sleep 0.3; done
  wait $pid
}
for signal in TERM INT USR1 HUP; do
  # A shell without job control starts its background jobs with INT ignored, and bash cannot trap what was ignored.
  if [ $signal = INT ]; then continue; fi
  check 75 "$signal" signalled $signal 1 1
  if [ "$(cat "$RUN.got")" != 1 ]; then echo "FAILED: $signal arrived $(cat "$RUN.got") times"; failures=$((failures + 1)); fi
done
# A signal before any rank runs: nothing is started, and the batch script is told why.
early() {
  rm -f "$RUN.args" "$RUN.asked" "$dir/outcome"
  "$root/scripts/launch.sh" -n 1 --mpirun --outcome "$dir/outcome" -- banyan train x.ini "${@:2}" &
  local pid=$!
  until [ -e "$RUN.asked" ]; do sleep 0.05; done
  kill -"$1" $pid
  wait $pid
}
for signal in TERM USR1 HUP; do
  check 75 "an early $signal" early $signal --slow
  got=$(paste -sd ' ' "$dir/outcome")
  [ "$got" = "code=75 attempt= reason=signal lost=" ] || { echo "FAILED: early $signal: $got"; failures=$((failures + 1)); }
  [ ! -e "$RUN.args" ] || { echo "FAILED: ranks were started after an early $signal"; failures=$((failures + 1)); }
done
# The launcher is there, but does not listen yet.
deaf() {
  rm -f "$RUN.args"
  DEAF=1 "$root/scripts/launch.sh" -n 1 --mpirun -- banyan train x.ini &
  local pid=$!
  until [ -e "$RUN.args" ]; do sleep 0.05; done
  sleep 0.2
  kill -USR1 $pid
  wait $pid
}
check 75 "a launcher that USR1 ends" deaf
check 69 "a launcher that USR1 of others ends" job STATUS=138
check 75 "three times TERM" signalled TERM 3 9
case $(cat "$RUN.got") in *term) ;; *) echo "FAILED: the third TERM did not end the job"; failures=$((failures + 1)) ;; esac

[ $failures = 0 ] && echo "all passed"
exit $((failures > 0))
