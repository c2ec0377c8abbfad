#!/usr/bin/env bash
# The binary's command line as a person meets it: what is printed where, and the exit code.
set -uo pipefail
banyan=$1
failures=0
check() {  # check CODE PATTERN ARGUMENT...: PATTERN (a grep expression) must occur in the output
  local wanted=$1 pattern=$2 output got
  shift 2
  output=$("$banyan" "$@" 2>&1)
  got=$?
  if [ $got = "$wanted" ] && grep -q -- "$pattern" <<<"$output"; then return; fi
  echo "FAILED: banyan $*: exit code $got (wanted $wanted), looked for '$pattern' in:"
  echo "$output"
  failures=$((failures + 1))
}

check 64 'usage: banyan COMMAND'
check 0 'commands:' help
check 0 'commands:' --help
check 0 '^banyan [0-9]' --version
check 0 '75  stopped *requeue' --print-exit-codes
check 0 '^# Configuration' --print-reference
check 64 'did you mean train?' trian
check 64 'is no command' --trian
check 64 'did you mean generate?' help generat
check 0 '--comm.peer_timeout=20s' help config comm
check 64 'did you mean comm?' help config comn
check 0 'usage: banyan train' train --help
check 0 '--model.layers=12' train --help model
check 0 'steps = 7 .*# command line' train /dev/null --train.steps=7 --print-config
check 0 '^7$' train /dev/null --train.steps=7 --print-value=train.steps
check 64 'did you mean train.steps?' train /dev/null --print-value=train.stepz
check 78 'did you mean train.steps?' train /dev/null --train.stepz=7 --print-config
check 78 'x.ini' train /nonexistent/x.ini --print-config
check 64 'CONFIG' train --print-config
check 64 'options are written --name' tokenize -x
check 64 'did you mean --vocab-size?' tokenize x --vocab-siz=3
check 64 'did you mean --at-step?' stop x --at-stop=3

# Every listed command answers help, names itself and refuses nonsense.
for command in $("$banyan" help | sed -n 's/^  \([a-z]*\)  .*/\1/p' | grep -v '^banyan'); do
  check 0 "usage: banyan $command" help "$command"
  check 0 "usage: banyan $command" "$command" --help
done
[ $failures = 0 ] && echo "all passed"
exit $((failures > 0))
