# Shared by the tests in which one of four ranks is lost in the middle of training (lost_rank.sh; lost_rank.sh and
# link_down.sh of tests/cluster): every other rank ends within the timeout and writes down whom it missed, on which host and
# in what wait; one message says so; scripts/launch.sh ends with 69.  After tests/e2e/lib.sh:
. "$repo/tests/fault/counted.sh"

# lose_one_of TRANSPORT data|pipeline [COMMAND...]: starts the training in the background, $job; through COMMAND where that is
# given; returns when five steps are done.
lose_one_of() {
  local mesh i
  case $2 in
    data) mesh=(--parallel.data=4) ;;
    pipeline) mesh=(--parallel.pipeline=2 --parallel.data=2) ;;
    pipeline4) mesh=(--parallel.pipeline=4) ;;
    *) fail "no mesh is called $2" ;;
  esac
  dataset "$scratch/tokens.h5"
  config "$scratch/config.ini" gpt "$scratch/run"
  export BANYAN_LAUNCH_GRACE=3
  "${@:3}" "$repo/scripts/launch.sh" -n 4 --mpirun -- "$banyan" train "$scratch/config.ini" "${mesh[@]}" \
    --train.steps=1000000 --comm.peer_timeout=3s --comm.host_transport="$1" >"$scratch/out.log" 2>&1 &
  job=$!
  for i in $(seq 600); do
    [ "$(losses "$scratch/run" 2>/dev/null | wc -l)" -lt 5 ] || return 0
    kill -0 $job 2>/dev/null || { cat "$scratch/out.log" >&2; fail "training ended by itself"; }
    sleep 0.1
  done
  cat "$scratch/out.log" >&2
  fail "no five steps within a minute"
}

# rank_process RANK: its process id.
rank_process() {
  local pid
  for pid in $(pgrep -f "train $scratch/config.ini"); do
    if tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -qx "\(OMPI_COMM_WORLD_RANK\|PMI_RANK\)=$1"; then
      echo "$pid"
      return
    fi
  done
  fail "there is no rank $1"
}

show_lost() { cat "$scratch/out.log" "$scratch"/run/causes/1.*.json >&2; }

# lost RANK HOST WAIT: it is lost from now on; the others wait for something with WAIT (a pattern) in its name.
lost() {
  local began code=0 took limit rank record words i
  injected
  began=$(date +%s)
  for i in $(seq 900); do
    kill -0 $job 2>/dev/null || break
    sleep 0.1
  done
  ! kill -0 $job 2>/dev/null || { show_lost; fail "launch.sh goes on"; }
  wait $job || code=$?
  took=$(($(date +%s) - began))
  [ $code = 69 ] || { show_lost; fail "launch.sh ended with $code instead of 69"; }
  # A rank may be silent for ten times the slowest step, which on a busy machine is longer than the timeout.
  limit=$((30 + $(sed -n 's/.* ms \([0-9]*\) .*/\1/p' "$scratch/out.log" | sort -n | tail -n 1) / 100))
  [ $took -le $limit ] || { show_lost; fail "it took $took s, not $limit s"; }
  echo "ended $took s after rank $1 was lost"
  for rank in 0 1 2 3; do
    if [ $rank = "$1" ]; then continue; fi
    record=$scratch/run/causes/1.$rank.json
    [ -e "$record" ] || { show_lost; fail "rank $rank left without a word"; }
    for words in '"code":69' "rank $1 on $2" "\"peer\":$1[,}]" "\"peer_host\":\"$2\"" '"waiting_for":"[^"]'; do
      grep -q "$words" "$record" || { show_lost; fail "the record of rank $rank does not say $words"; }
    done
  done
  grep -qh "\"waiting_for\":\"[^\"]*\($3\)" "$scratch"/run/causes/1.[0-3].json || { show_lost; fail "nobody waited for $3"; }
  [ "$(grep -c 'error:' "$scratch/out.log")" = 1 ] || { show_lost; fail "not one message"; }
  grep 'error:' "$scratch/out.log" | grep -q "rank $1 on $2" || { show_lost; fail "the message names somebody else"; }
}
