#!/bin/bash
# box_comm.sh BENCH [BENCH-COMM-OPTION...]: all-reduce over TCP between the four hosts of the cluster in a box, against
# the MPI library's own, with ranks placed alternately across the leaves (n1 n3 n2 n4), and against the limit that the
# up-links set.  Needs root.
#   box_comm.sh build/release/bench                       hierarchical, ring and direct, 4, 16 and 64 MiB
#   box_comm.sh build/release/bench --algorithms ring     any option of bench comm
#
# The limit: in an all-reduce of S bytes over two leaves each leaf must learn the other's sum, S bytes through its
# up-link in each direction, at 400 Mbit/s of Ethernet frames of which TCP fills 1448 of 1514 bytes.
set -eu
bench=$(realpath "$1")
shift
. "$(dirname "$0")/../tests/cluster/box.sh"
box_up
[ $# -gt 0 ] || set -- --algorithms hierarchical,ring,direct --repeats 5
json=$BOX/comm.json
box_mpirun n1,n3,n2,n4 -n 4 "$bench" comm --kinds all-reduce --sizes 4MiB:64MiB:4 --block 1ms --json "$json" "$@"
python3 - "$json" "${box_uplink_rate%mbit}" <<'TABLE'
import json, sys
rows = json.load(open(sys.argv[1]))['rows']
rate = float(sys.argv[2]) * 1e6 / 8 * 1448 / 1514
print('\n%-14s %6s %12s %10s %12s %8s' % ('algorithm', 'MiB', 'time (ms)', 'limit', 'of the limit', 'x MPI'))
for r in rows:
    limit = r['bytes'] / rate
    ratio = '%.2f' % r['times_faster_than_mpi'] if 'times_faster_than_mpi' in r else '-'
    print('%-14s %6.0f %12.1f %10.1f %11.0f%% %8s' %
          (r['algorithm'], r['bytes'] / 2**20, r['seconds'] * 1e3, limit * 1e3, 100 * limit / r['seconds'], ratio))
TABLE
