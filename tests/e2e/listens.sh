#!/bin/bash
# listens.sh BANYAN: while a job trains, no rank of it listens on any port, where neither MPI nor UCX carries messages over
# TCP; with MPI's TCP one does, which shows that the look at the sockets sees what is there.
. "$(dirname "$0")/lib.sh"
case $(mpirun --version 2>&1) in *"Open MPI"*) ;; *) echo "skipped: it knows the options of Open MPI alone"; exit 77 ;; esac
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
dataset "$scratch/tokens.h5"

# ports PID: those on which the process listens.
ports() {
  find "/proc/$1/fd" -lname 'socket:*' -printf '%l\n' | tr -dc '0-9\n' > "$scratch/sockets"
  awk 'NR == FNR { own[$1] = 1; next } $4 == "0A" && $10 in own { print $2 }' "$scratch/sockets" "/proc/$1/net/tcp" "/proc/$1/net/tcp6"
}

# listening BTL: how many ports the ranks of a job listen on after its second step.
listening() {
  config "$scratch/c.ini" gpt2 "$scratch/$1"
  mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 --mca pml ob1 --mca btl "self,$1" -n 2 \
    "$banyan" train "$scratch/c.ini" --parallel.data=2 --comm.host_transport=mpi --train.steps=1000000 > "$scratch/run.log" 2>&1 &
  job=$!
  wait_for_step "$scratch/$1" 2
  ranks=0 found=0
  for pid in $(pgrep -f "^$banyan train $scratch/c.ini"); do
    ranks=$((ranks + 1))
    found=$((found + $(ports "$pid" | wc -l)))
  done
  "$banyan" stop "$scratch/$1" > /dev/null
  code=0
  wait $job || code=$?
  [ $code = 75 ] && [ $ranks = 2 ] || { cat "$scratch/run.log" >&2; fail "exit code $code, $ranks ranks"; }
}

listening tcp
[ $found -gt 0 ] || fail "MPI's ports are not seen"
listening vader
[ $found = 0 ] || fail "ranks listen on $found ports"
