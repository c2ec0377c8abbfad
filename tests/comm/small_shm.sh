#!/bin/sh
# small_shm.sh PROGRAM RANKS [ucx]: the conformance cases where /dev/shm has no room, as in many a container: they pass
# over whatever needs none, and UCX, where it is there and was asked for, is refused with a sentence that says what to do.
# Exit code 77 where no small /dev/shm can be mounted.
program=$1 ranks=$2 ucx=$3
if ! unshare --mount sh -c 'mount --make-rprivate / && mount -t tmpfs -o size=64k tmpfs /dev/shm' 2>/dev/null; then
  echo "SKIPPED: only root may mount a small /dev/shm for a test"
  exit 77
fi
output=$(mktemp)
trap 'rm -f "$output"' EXIT
fail() {
  tail -40 "$output"
  echo "FAILED: $*"
  exit 1
}
# over TRANSPORT [CASE]: with only 64 KiB of /dev/shm.
over() {
  transport=$1
  shift
  BANYAN_TEST_TRANSPORT=$transport timeout 60 unshare --mount sh -c '
    mount --make-rprivate / && mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "$@"' sh \
    "$(dirname "$0")/../mpirun.sh" "$ranks" "$program" "$@" >"$output" 2>&1
}
over auto || fail "exit code $? over what there is"
if [ -n "$ucx" ]; then
  grep -q 'cannot start UCX' "$output" || fail "nobody says why UCX is not used"
  over ucx && fail "UCX, asked for, went without a word"
  grep -q 'cannot start UCX: .*; mend that, or use auto or mpi' "$output" || fail "no sentence that says what to do"
fi
exit 0
