#!/usr/bin/env bash
# mpirun-loop.sh [-n RANKS] [--hosts n1:8,n2:8] CONFIG [--section.key=value ...]
# Trains until the last step, through as many starts as it takes, where no batch system does that (scripts/slurm does it in
# Slurm). Without RANKS one for each processor of this machine, or as many as the hosts have places.
#
# What happens when a start ends:
#   finished (0)                                     done
#   USR1 to this script (75)                         commit, goes on at once
#   TERM, INT (Ctrl-C), HUP; banyan stop RUN (75)    commit, stays ended; before a start: does not start
#   a rank or host is lost (69), I/O (74),
#   a host does not pass the preflight               again in 10, 60, 300 s, without hosts that were lost twice; stays ended (93)
#                                                    at the fourth in a row without a newer checkpoint
#   every host was lost twice (93)                   stays ended; a person must look
#   three attempts have saved nothing (93)           stays ended; a person must look (run.attempts)
#   everything else                                  stays ended; a person must look
# RUN/ends.txt has a line for each, but for a config that names no run directory.
# Environment: BANYAN (program), BANYAN_LAUNCH_ARGS (for mpirun), BANYAN_BACKOFF="10 60 300";
# for the preflight see slurm/README.md.
. "$(dirname "$0")/slurm/lib.sh"

usage() { sed -n '2,/^\. /{/^\. /!s/^# \{0,1\}//p}' "$0" >&2; exit 64; }
ranks='' hosts=''
while [ $# -gt 0 ]; do
  case $1 in
    -n) ranks=${2-} && shift 2 || usage ;;
    --hosts) hosts=${2-} && shift 2 || usage ;;
    -*) usage ;;
    *) break ;;
  esac
done
[ $# -ge 1 ] || usage
unset SLURM_JOB_ID  # whatever allocation this may run in, it is not asked
on_hosts "$hosts" "$ranks"
while :; do
  train_once "$@"
  case $action in done | stop) exit "$code" ;; esac
  without=$(in_ends failed_twice "$chain")
  if [ -n "$hosts" ] && [ -n "$without" ]; then
    left=$(without_hosts "$hosts" "$without")
    if [ -z "$left" ]; then
      say "no host is left: $without were lost twice; not started again"
      code=93 action=stop
      note_end
      exit "$code"
    fi
    on_hosts "$left" "$ranks"
    say "going on without $without"
  fi
  rest "$delay"
  if [ "$(settled again)" = stop ]; then exit "$code"; fi
done
