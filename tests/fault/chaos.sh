#!/bin/bash
# chaos.sh BANYAN LIBRARY SECONDS [SEED [EVERY]]: a training of four ranks under scripts/mpirun-loop.sh to which something
# happens every EVERY (15) seconds, chosen by the seed, for so many seconds; then it is left alone and asked to stop.
#   kill     a rank dies                            killall  all ranks die, as when their node does
#   stop     a rank stops for ever                  pause    a rank stops for a second: no alarm
#   usr1     the ranks are asked to save and stop   halt     banyan stop; somebody starts the job again
#   flip     a byte of the newest checkpoint changes, and all ranks die
#   io       the next start meets an I/O error or a kill at some call of some rank (libfaultio.cpp); all ranks die now
# Promises: every start goes on from the last acknowledged save, or the one before where that was damaged; nothing hangs; no
# start ends as if a person had to look; in the end the losses of all steps and all values are those of a job that nothing
# happened to, to the bit.
. "$(dirname "$0")/lib.sh"
seconds=$3 seed=${4:-1} every=${5:-15}
run=$scratch/chaos/run
mkdir -p "$scratch/chaos" "$scratch/pids"
dataset "$scratch/tokens.h5"
config "$scratch/c.ini" gpt2 "$run"
# shellcheck disable=SC2206
options=($job $(mesh 4) --train.steps=10000000 --checkpoint.every_steps=50 --checkpoint.keep=4 --log.every=1000000 --run.attempts=0
  --comm.peer_timeout=5s --run.watchdog=20s)

# What the ranks run: says where they are, and has the fault of the `io` before, once.
cat >"$scratch/banyan" <<END
#!/bin/bash
rank=\${OMPI_COMM_WORLD_RANK:-}
if [[ \$1 = train && -n \$rank && \$* != *--print-value* ]]; then
  echo \$\$ >"$scratch/pids/\$rank"
  if [ -e "$scratch/io" ]; then
    read -r FAULT FAULT_RANK <"$scratch/io"
    export LD_PRELOAD=$library FAULT FAULT_RANK FAULT_UNDER=$run FAULT_REACHED=$scratch/reached
  fi
fi
exec $banyan "\$@"
END
chmod +x "$scratch/banyan"

broken=0
breaks() {
  echo "BROKEN after fault $n ($what): $*"
  broken=$((broken + 1))
}
pid_of() { cat "$scratch/pids/$1" 2>/dev/null || echo 0; }
# strike SIGNAL RANK...: those ranks, as long as they are what we started.
strike() {
  local signal=$1 rank pid
  shift
  for rank in "$@"; do
    pid=$(pid_of "$rank")
    if grep -qsF -- "--run.dir=$run" "/proc/$pid/cmdline"; then kill -"$signal" "$pid" 2>/dev/null || true; fi
  done
}
begin() {
  BANYAN="$scratch/banyan" BANYAN_PREFLIGHT=off BANYAN_LAUNCH_GRACE=3 BANYAN_BACKOFF="$(printf '0 %.0s' {1..1000})" \
    "$repo/scripts/mpirun-loop.sh" -n 4 "$scratch/c.ini" "${options[@]}" --run.dir="$run" >>"$scratch/loop.log" 2>&1 &
  loop=$!
}
done_steps() { tail -n 1 "$run/metrics.jsonl" 2>/dev/null | sed -n 's/.*"step": \([0-9]*\),.*/\1/p' | grep . || echo 0; }
attempts() { cat "$run/attempts.jsonl" 2>/dev/null | wc -l; }
# goes_on ATTEMPTS: until a step comes after the next look, of a later attempt than so many; false after two minutes.
goes_on() {
  local i had=''
  for i in $(seq 600); do
    kill -0 $loop 2>/dev/null || return 1
    if [ "$(attempts)" -gt "$1" ]; then
      [ -n "$had" ] || had=$(done_steps)
      [ "$(done_steps)" = "$had" ] || return 0
    fi
    sleep 0.2
  done
  return 1
}
# sound: checkpoints that nobody has found damaged, oldest first.
sound() {
  local name
  for name in $(ls "$run/ckpt" 2>/dev/null | grep '^step-[0-9]*\.e[0-9]*$' | sort); do
    [ -e "$run/ckpt/$name.BAD" ] || echo "$name"
  done
}

n=0 what=start loop=0
trap 'kill -KILL $loop 2>/dev/null || true; strike KILL 0 1 2 3; rm -rf "$scratch"' EXIT
begin
goes_on 0 || { cat "$scratch/loop.log"; fail "the training does not begin"; }
RANDOM=$seed
declare -A count
armed=''  # an io fault that was not reached yet
until [ $SECONDS -ge "$seconds" ]; do
  n=$((n + 1))
  kinds=(kill kill killall stop pause usr1 halt flip io io)
  what=${kinds[RANDOM % ${#kinds[@]}]} rank=$((RANDOM % 4)) number=$((RANDOM % 150 + 1)) place=$RANDOM
  actions=(EIO ENOSPC kill short late)
  action=${actions[RANDOM % ${#actions[@]}]}
  count[$what]=$((${count[$what]:-0} + 1))
  sleep $((RANDOM % every)).$((RANDOM % 10))
  had=$(attempts)
  wanted=$had
  case $what in
    kill) strike KILL $rank ;;
    killall) strike KILL 0 1 2 3 ;;
    stop) strike STOP $rank ;;
    pause) strike STOP $rank; sleep 1; strike CONT $rank; wanted=$((had - 1)) ;;
    usr1) kill -USR1 $loop ;;
    halt)
      "$banyan" stop "$run" >/dev/null
      code=0
      wait $loop || code=$?
      [ $code = 75 ] || breaks "banyan stop ended the loop with $code"
      begin ;;
    flip)
      # Of two that are left a job keeps none to spare.
      file=$(sound | sed -n '3,$p' | tail -n 1)
      if [ -n "$file" ]; then file=$(ls "$run/ckpt/$file"/*.h5 2>/dev/null | sort | sed -n "$((place % 2 + 1))p"); fi
      if [ -n "$file" ]; then
        printf '\377' | dd of="$file" bs=1 seek=$((place % $(stat -c %s "$file"))) conv=notrunc status=none || true
      fi
      strike KILL 0 1 2 3 ;;
    io)
      echo "any:$number:$action $rank" >"$scratch/io"
      strike KILL 0 1 2 3
      for i in $(seq 300); do [ "$(attempts)" -le "$had" ] && [ ! -e "$scratch/reached" ] || break; sleep 0.1; done
      sleep 2
      [ -e "$scratch/reached" ] || armed=1
      rm -f "$scratch/io" "$scratch/reached" ;;
  esac
  if goes_on $wanted; then
    if [ "$what/$armed" = pause/ ] && [ "$(attempts)" != $had ]; then breaks "a pause was taken for a failure"; fi
    continue
  fi
  if kill -0 $loop 2>/dev/null; then
    breaks "the training does not go on"
    strike KILL 0 1 2 3
  else
    code=0
    wait $loop || code=$?
    breaks "the loop ended with $code: $(grep error "$scratch/loop.log" | tail -n 1)"
    begin
  fi
done

what=end
goes_on 0 || breaks "the training is not there at the end"
"$banyan" stop "$run" >/dev/null
code=0
wait $loop || code=$?
[ $code = 75 ] || breaks "the loop ended with $code"
last=$(done_steps)
# Starts against saves that were acknowledged before them.
tr -d '\000' <"$run/log.txt" | awk '
  /saved step-/ { match($0, /step-0*[0-9]+/); saved[++n] = substr($0, RSTART + 5, RLENGTH - 5) + 0 }
  /CHECKPOINT NOT USED/ { ++damaged }
  /starting fresh/ && n { print "a fresh start although step " saved[n] " was saved" }
  /resuming after step/ { match($0, /after step [0-9]+/); from = substr($0, RSTART + 11, RLENGTH - 11) + 0
                          n -= n > damaged ? damaged : n
                          if (n && from < saved[n]) print "went on from step " from " although step " saved[n] " was saved"
                          while (n && saved[n] >= from) --n
                          saved[++n] = from; damaged = 0 }' >"$scratch/wrong"
while read -r line; do breaks "$line"; done <"$scratch/wrong"

mkdir -p "$scratch/calm/run"
echo "at-step $last" >"$scratch/calm/run/stop"
code=0
# shellcheck disable=SC2086
timeout -k 5 $((2 * seconds + 600)) "$repo/tests/mpirun.sh" 4 "$banyan" train "$scratch/c.ini" "${options[@]}" \
  --run.dir="$scratch/calm/run" --comm.plans="$run/plans.json" >"$scratch/calm.log" 2>&1 || code=$?
[ $code = 75 ] || { cat "$scratch/calm.log"; fail "the undisturbed job ended with $code"; }
tr -d '\000' <"$run/metrics.jsonl" >"$scratch/metrics" && mv "$scratch/metrics" "$run/metrics.jsonl"
losses "$run" >"$scratch/a.txt"
losses "$scratch/calm/run" >"$scratch/b.txt"
[ "$(wc -l <"$scratch/b.txt")" = "$last" ] || breaks "the undisturbed job has other steps"
cmp -s "$scratch/a.txt" "$scratch/b.txt" || breaks "the losses differ: $(diff "$scratch/a.txt" "$scratch/b.txt" | head -n 3 | paste -sd ' ')"
[ "$(digest_of "$run")" = "$(digest_of "$scratch/calm/run")" ] || breaks "the values at the end differ"
[ $broken = 0 ] || tail -n 60 "$scratch/loop.log"
for what in "${!count[@]}"; do echo "$what ${count[$what]}"; done | sort | paste -sd ' '
echo "$last steps, $(attempts) attempts, seed $seed: $n faults injected, $broken promises broken"
[ $broken = 0 ]
