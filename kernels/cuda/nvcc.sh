#!/bin/sh
# nvcc.sh FILE NVCC ARGUMENT...: runs nvcc and keeps in FILE what ptxas says of each kernel; complaints are shown as well.
# Exit code: nvcc's.
file=$1
shift
"$@" >"$file" 2>&1
status=$?
[ $status = 0 ] || grep -v '^ptxas info' "$file" >&2
exit $status
