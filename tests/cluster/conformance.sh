#!/bin/bash
# conformance.sh TRANSPORT PROGRAM...: what every transport and every World must do, with one rank on each of four hosts.
set -u
. "$(dirname "$0")/box.sh"
export BANYAN_TEST_TRANSPORT=$1
shift
box_up
for program in "$@"; do
  echo "== $(basename "$program") over $BANYAN_TEST_TRANSPORT"
  box_mpirun n1,n3,n2,n4 -n 4 -x BANYAN_TEST_TRANSPORT "$program" || exit 1
done
# Two ranks a host: some pairs share memory, others do not.
box_mpirun n1:2,n3:2 -n 4 -x BANYAN_TEST_TRANSPORT "${@: -1}" || exit 1
