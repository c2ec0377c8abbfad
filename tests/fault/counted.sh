# Read after tests/e2e/lib.sh by the fault tests that end at the first promise that breaks: they say at their end, as
# the others do, how many faults they have injected and how many promises broke.
faults=0
injected() { faults=$((faults + 1)); }
kept() { echo "$faults faults injected, 0 promises broken"; }
fail() {
  echo "FAILED: $*" >&2
  # Where nothing was injected yet no promise broke. Not to the output, which a caller may be reading.
  [ "$faults" = 0 ] || echo "$faults faults injected, 1 promises broken" >&2
  exit 1
}
