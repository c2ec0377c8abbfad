#!/bin/bash
# teardown.sh: the box leaves nothing behind, whichever way its script ends; what kill -9 leaves, the next box removes.
set -u
here=$(dirname "$0")
. "$here/box.sh"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

# Everything of a box whose owner has the process id $1.
remains() {
  ip netns list | grep "^banyan-box\.$1\."
  ls -d "${TMPDIR:-/tmp}"/banyan-box."$1".* 2>/dev/null
  grep -l "banyan-box\.$1\." /proc/[0-9]*/cmdline 2>/dev/null | grep -v "/$$/"
  grep "banyan-box\.$1\." /proc/self/mounts
  ip -o link | grep -E ' (spine|leaf[01]|up[01]|n[1-4])(-end)?[:@]'
}

# start COMMAND...: a box in the background with a process in it; its owner in $owner.
start() {
  rm -f "$scratch/ready"
  bash -c '. "$0/box.sh"; box_up; box_on n2 sh -c "touch $1; exec sleep 1000" & wait' "$here" "$scratch/ready" &
  owner=$!
  for i in $(seq 200); do
    [ -e "$scratch/ready" ] && return
    kill -0 $owner 2>/dev/null || break
    sleep 0.05
  done
  wait $owner
  code=$?
  [ $code = 77 ] && exit 77
  fail "the box does not come up"
}

start
remains $owner | grep -q . || fail "a box that is up was not found: this test sees nothing"
kill -TERM $owner
wait $owner
code=$?
[ $code = 130 ] || fail "exit code $code after TERM"
left=$(remains $owner)
[ -z "$left" ] || fail "left behind after TERM: $left"

start
first=$owner
kill -KILL $first
wait $first 2>/dev/null
remains $first | grep -q . || fail "kill -9 left nothing to remove"
start
left=$(remains $first | grep "banyan-box\.$first\.")
[ -z "$left" ] || fail "the next box did not remove: $left"
kill -TERM $owner
wait $owner
left=$(remains $owner)
[ -z "$left" ] || fail "left behind: $left"

"$here/box.sh" hostname >"$scratch/said" || fail "box.sh hostname"
[ "$(cat "$scratch/said")" = n1 ] || fail "box.sh hostname said $(cat "$scratch/said")"
