#!/bin/bash
# link_down.sh BANYAN TRANSPORT: one of four hosts falls off the network in the middle of training; tests/fault/lost_lib.sh says
# what must come of it.
. "$(dirname "$0")/box.sh"
box_up
TMPDIR=$BOX
. "$(dirname "$0")/../e2e/lib.sh"
. "$repo/tests/fault/lost_lib.sh"
box_guard

export BANYAN_LAUNCH_ARGS="--host n1,n2,n3,n4 --map-by node"
lose_one_of "$2" data box_on n1
box_link n3 down
lost 2 n3 reduce
kept
