#!/bin/bash
# hierarchical.sh BENCH: hosts learn which leaf they hang from, and collectives that follow the leaves are right, with
# ranks placed alternately and with two ranks a host.
. "$(dirname "$0")/box.sh"
box_up
for hosts in n1,n3,n2,n4 n1:2,n2:1,n4:2; do
  ranks=$(echo "$hosts" | tr , '\n' | awk -F: '{n += NF > 1 ? $2 : 1} END {print n}')
  box_mpirun "$hosts" -n "$ranks" "$1" comm --kinds all-reduce,reduce-scatter,all-gather --algorithms hierarchical,auto \
    --sizes 64:1MiB:128 --repeats 1 --block 1ms --against none --json "$BOX/comm.json" || exit 1
  python3 - "$BOX/comm.json" <<'CHECK' || exit 1
import json, sys
j = json.load(open(sys.argv[1]))
assert j['leaves'] == 2, 'SLURM_TOPOLOGY_ADDR names two leaves, the ranks saw %d' % j['leaves']
rows = [r for r in j['rows'] if r['algorithm'] == 'hierarchical']
assert len(rows) == 9 and all(r['wrong'] == 0 for r in rows), rows
CHECK
done
