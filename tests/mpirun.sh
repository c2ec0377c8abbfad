#!/bin/sh
# mpirun.sh RANKS PROGRAM [ARG...]: starts an MPI program the way the tests need it: also as root, also with more ranks
# than cores (then idle ranks yield), without touching a network.  MPIRUN_OPTIONS adds options.
ranks=$1
shift
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
exec mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 --mca btl self,vader,tcp --mca pml ob1 \
  $MPIRUN_OPTIONS -n "$ranks" "$@"
