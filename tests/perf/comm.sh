#!/bin/sh
# comm.sh BENCH RANKS: a short `bench comm` of everything; every result is right and the JSON says what the table says.
set -e
bench=$1 ranks=$2
here=$(dirname "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$here/../mpirun.sh" "$ranks" "$bench" comm --sizes 8:128KiB:16384 --repeats 2 --block 1ms --json "$dir/comm.json" \
  >"$dir/table" || { cat "$dir/table"; exit 1; }
python3 - "$dir/comm.json" "$dir/table" "$ranks" <<'CHECK'
import json, sys
j = json.load(open(sys.argv[1]))
table = [l.split() for l in open(sys.argv[2]) if ' | ' in l and not l.startswith('algorithm')]
assert j['ranks'] == int(sys.argv[3]), j['ranks']
assert len(table) == len(j['rows']), (len(table), len(j['rows']))
kinds = ['latency', 'bandwidth', 'barrier', 'broadcast', 'all-reduce', 'reduce-scatter', 'all-gather', 'all-to-all']
for kind in kinds:
    for who in (lambda a: a.startswith('mpi'), lambda a: not a.startswith('mpi') and a not in ('memcpy', 'window', 'window, past caches', 'ucx_perftest')):
        rows = [r for r in j['rows'] if r['kind'] == kind and who(r['algorithm'])]
        assert rows, kind + ' is missing'
        for r in rows:
            assert r['wrong'] == 0, r
            assert r['seconds'] > 0 and len(r['seconds_of_blocks']) == 2, r
            assert 0 < r['latency_min_s'] <= r['latency_max_s'], r
            assert r['algorithm'].startswith('mpi') or r['times_faster_than_mpi'] > 0, r
print(len(j['rows']), 'rows')
CHECK
