#!/bin/sh
# mpirun.sh RANKS PROGRAM [ARG...]: starts an MPI program the way the tests need it: also as root, also with more ranks
# than cores (then idle ranks yield), without touching a network.  MPIRUN names the launcher that belongs to the MPI
# library of the program (default mpirun, Open MPI's); MPIRUN_OPTIONS adds options.
ranks=$1
shift
mpirun=${MPIRUN:-mpirun}
case $("$mpirun" --version 2>&1) in
  *"Open MPI"* | *OpenRTE*)
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    exec "$mpirun" --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 --mca btl self,vader,tcp --mca pml ob1 \
      $MPIRUN_OPTIONS -n "$ranks" "$@" ;;
esac
# MPICH: all ranks are on this host, and a rank's end must not end the others.
export MPIR_CVAR_NOLOCAL=0
exec "$mpirun" -host localhost $MPIRUN_OPTIONS -n "$ranks" "$@"
