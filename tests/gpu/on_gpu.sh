#!/bin/sh
# on_gpu.sh BENCH_GPU COMMAND...: runs the command where there is a GPU; elsewhere says why not, after the word SKIPPED.
there=$("$1" devices) || {
  echo "$there"
  case $there in SKIPPED:*) exit 0 ;; esac
  exit 1
}
shift
exec "$@"
