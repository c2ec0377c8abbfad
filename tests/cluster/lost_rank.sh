#!/bin/bash
# lost_rank.sh BANYAN LIBFAULTMPI TRANSPORT MESH ACTION: four ranks on four hosts; rank 2 kills (ACTION = kill) or stops itself
# (stop) as it sends a message in the middle of an all-reduce (MESH = data) or of a step of the pipeline (pipeline4);
# tests/fault/lost_lib.sh says what must come of it.
. "$(dirname "$0")/box.sh"
box_up
TMPDIR=$BOX
. "$(dirname "$0")/../e2e/lib.sh"
. "$repo/tests/fault/lost_lib.sh"
box_guard

library=$2 transport=$3 shape=$4
case $transport in mpi) send=MPI_Isend ;; ucx) send=ucp_tag_send_nbx ;; esac
case $shape in data) wait='reduce' ;; pipeline4) wait='activation\|gradient' ;; esac
export FAULT=$send:7:$5 FAULT_RANK=2 FAULT_WHEN=$scratch/now FAULT_REACHED=$scratch/reached
export BANYAN_LAUNCH_ARGS="--host n1,n2,n3,n4 --map-by node $(printf -- '-x %s ' FAULT{,_RANK,_WHEN,_REACHED} LD_PRELOAD="$library")"
lose_one_of "$transport" "$shape" box_on n1
touch "$FAULT_WHEN"
lost 2 n3 "$wait"
[ -e "$FAULT_REACHED" ] || fail "the fault was not reached"
kept
