#!/bin/sh
# ucx_limit.sh latency|bandwidth BYTES: what ucx_perftest reaches between two processes of this host, in seconds per
# message (half a round trip for latency).  It gets the transports that Banyan gets: BANYAN_UCX_X counts as UCX_X, peer
# errors are on (-e) and leave shared memory in use.
test=$1 bytes=$2
case $test in latency) name=tag_lat ;; bandwidth) name=tag_bw ;; *) sed -n 2,4p "$0" >&2; exit 64 ;; esac
command -v ucx_perftest >/dev/null || { echo "there is no ucx_perftest; it is in the package ucx-utils" >&2; exit 69; }
# About 256 MiB of traffic, as bench's own blocks are short, too.
iterations=$((268435456 / (bytes + 4096)))
[ "$iterations" -ge 8 ] || iterations=8
export UCX_MM_ERROR_HANDLING=y UCX_WARN_UNUSED_ENV_VARS=n
for setting in $(env | sed -n 's/^BANYAN_\(UCX_[A-Z0-9_]*=.*\)/\1/p'); do export "$setting"; done

server=''
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; wait 2>/dev/null' EXIT
trap 'exit 1' INT TERM HUP
port=$((20000 + $$ % 20000))
# A rank that mpirun bound to a core would have both processes spin there by turns.
cores=$(cat /sys/fs/cgroup/cpuset.cpus.effective 2>/dev/null) || cores=''
[ -n "$cores" ] || cores=0-$(($(nproc --all) - 1))
taskset -cp "$cores" $$ >/dev/null 2>&1 || echo "ucx_limit.sh: cannot leave the rank's cores" >&2
timeout 60 ucx_perftest -p $port -e >/dev/null 2>&1 &
server=$!
# The client gives up at once when the server does not listen yet.
for attempt in 1 2 3 4 5 6 7 8 9 10; do
  sleep 0.1
  line=$(timeout 60 ucx_perftest 127.0.0.1 -p $port -e -t $name -s "$bytes" -n $iterations -w $((iterations / 10 + 2)) \
    -v -f 2>/dev/null | tail -n 1)
  # iterations,50.0_percentile_lat,avg_lat,overall_lat,...: microseconds
  seconds=$(echo "$line" | awk -F, 'NF >= 6 && $4 + 0 > 0 {printf "%.9g\n", $4 * 1e-6}')
  if [ -n "$seconds" ]; then echo "$seconds"; exit 0; fi
done
echo "ucx_perftest gave no figure" >&2
exit 69
