#!/bin/sh
# mpich.sh SOURCE BUILD: builds the programs of comm's rank tests against MPICH in a tree of their own and runs them, so
# that nothing comes to depend on one MPI library.  Exit code 77 where MPICH is not installed.
source=$1 build=$2
for tool in mpicxx.mpich mpiexec.mpich; do
  command -v $tool >/dev/null || { echo "SKIPPED: there is no $tool; scripts/install-deps.sh installs it"; exit 77; }
done
set -e
cmake -S "$source" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release "-DCMAKE_CXX_FLAGS_RELEASE=-O2 -g1 -DNDEBUG" \
  -DMPI_CXX_COMPILER=mpicxx.mpich -DMPIEXEC_EXECUTABLE=mpiexec.mpich >/dev/null
cmake --build "$build" --target comm_rank_tests | tail -1
exec ctest --test-dir "$build" -L ranks -R 'ranks\.(transport|world|messages)_' --output-on-failure
