# stubs.sh: a made-up Slurm, mpirun and program for the tests of scripts/slurm and scripts/mpirun-loop.sh, which read it.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for name in $(compgen -v SLURM_) $(compgen -v BANYAN); do unset "$name"; done

failures=0
bad() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}
same() { [ "$2" = "$3" ] || bad "$1: '$2' instead of '$3'"; }  # same WHAT GOT WANTED

# Every start of the program takes the next line of PLAN: "STEP RECORDS": the step it has saved when it ends, and the cause
# records "rank:code[:reason|:peer]" of four ranks on n1, n1, n2, n2. "STEP -" leaves no record and crashes.
mkdir "$dir/bin"
export PATH=$dir/bin:$PATH RUN=$dir/run PLAN=$dir/plan BANYAN=$dir/bin/banyan STUBS=$dir TMPDIR=$dir
export BANYAN_LAUNCH_ARGS=--nothing
touch "$dir/tokens.h5"
cat >"$dir/bin/banyan" <<'END'
#!/bin/bash
case "$*" in
  *--wrong*) echo "error: wrong" >&2; exit 78 ;;
  *--run.dir=*--print-value=run.dir*) sed 's/.*--run.dir=\([^ ]*\).*/\1/' <<<"$*" ;;
  *--print-value=run.dir*) echo "$RUN" ;;
  plan*) [ -z "${PARAMETERS:-}" ] || echo "  parameters  475 MiB  $PARAMETERS x 4 B" ;;
  *--print-value=data.train*) echo "${DATA:-$STUBS/tokens.h5:2}" ;;
  *--cancel*) rm "$2/stop" ;;
esac
END
cat >"$dir/bin/mpirun" <<'END'
#!/bin/bash
echo "${0##*/} $*" >>"$STUBS/starts"
all="$*"
[ "${SLURM_EXPORT_ENV:-ALL}" = ALL ] || unset BANYAN_LAUNCH  # srun takes sbatch --export for its own
case $all in
  *--mpi=list*) echo 'none pmix'; exit ;;
  *node-check*) hosts=$(sed -n 's/.*--host \([^ ]*\) .*/\1/p' <<<"$all" | tr , ' ')
    # Open MPI's starts nothing when it cannot reach all hosts.
    for host in $hosts; do [[ " $NODES " == *" ${host%:*} "* ]] || { echo "ssh: connect to host $host: No route" >&2; exit 1; }; done
    while [ "$1" != bash ]; do shift; done
    for node in ${hosts:-$NODES}; do SLURMD_NODENAME=$node "$@"; done; exit ;;
  *topo\ --job*)  # SICK: nodes on which MPI does not start; MUTE: on which it finds no other node
    echo "they do not meet"
    some=$(sed -n 's/.*\(--nodelist=\|--host \)\([^ ]*\) .*/\2/p' <<<"$all" | sed 's/:[0-9]*//g; s/,/ /g')
    some=${some:-$NODES}
    for node in $some; do
      if [[ " ${SICK:-} " = *" $node "* ]] || [[ " ${MUTE:-} " = *" $node "* && $some = *" "* ]]; then exit 69; fi
    done
    exit "${MEET:-0}" ;;
esac
read -r step records <"$PLAN"
sed -i 1d "$PLAN"
run=$RUN
case $all in *--run.dir=*) run=$(sed 's/.*--run.dir=\([^ ]*\).*/\1/' <<<"$all") ;; esac
n=$(ls "$run/causes" 2>/dev/null | grep -c '^[0-9]*\.json')
mkdir -p "$run/causes" "$run/ckpt/step-$(printf %09d "$step").e$n"
[ "$records" != - ] || exit 139
echo "{\"attempt\":$n,\"launch\":\"$BANYAN_LAUNCH\",\"ranks\":4}" >"$run/causes/$n.json"
if [ -n "${WAIT:-}" ]; then
  trap 'got=1' USR1
  touch "$STUBS/ready"
  for i in $(seq 200); do [ -z "${got:-}" ] || break; /bin/sleep 0.05; done
fi
for r in $records; do
  IFS=: read -r rank code word <<<"$r"
  extra=''
  case $word in '') ;; [0-9]*) extra=",\"peer\":$word,\"peer_host\":\"n$((word / 2 + 1))\"" ;; *) extra=",\"reason\":\"$word\"" ;; esac
  echo "{\"attempt\":$n,\"rank\":$rank,\"code\":$code,\"name\":\"x\",\"message\":\"\"$extra}" >"$run/causes/$n.$rank.json"
done
exit 1
END
cp "$dir/bin/mpirun" "$dir/bin/srun"
printf '%s\n' '#!/bin/bash' '[ "$1" != --version ] && exec "${0%/*}/banyan" "$@"' >"$dir/bin/broken"
cat >"$dir/bin/scontrol" <<'END'
#!/bin/bash
case $1/$2 in
  show/hostnames) tr ' ' '\n' <<<"$NODES" ;;
  show/job) echo "${!#}" >>"$STUBS/about"
    echo "JobId=5 JobState=${STATE:-RUNNING} Reason=None Restarts=0 ExcNodeList=${EXCLUDED:-(null)} x" ;;
  *) echo "$*" >>"$STUBS/asked"
    if [ "$1" = requeue ] && [ -n "${REFUSED:-}" ]; then echo "slurm_requeue error: $REFUSED" >&2; exit 1; fi
    if [[ $* == *ExcNodeList* ]] && [ -n "${KEEPS:-}" ]; then echo "Invalid node name specified" >&2; exit 1; fi
    if [ -s "$STUBS/busy" ]; then sed -i 1d "$STUBS/busy"; echo "Unable to contact slurm controller" >&2; exit 1; fi ;;
esac
END
cat >"$dir/bin/squeue" <<'END'
#!/bin/bash
echo "$3" >>"$STUBS/about"
if [ -s "$STUBS/away" ]; then sed -i 1d "$STUBS/away"; echo "slurm_load_jobs error: Unable to contact" >&2; exit 1; fi
echo "${LEFT:-1:00:00}"
END
cat >"$dir/bin/scancel" <<'END'
#!/bin/bash
echo "scancel $*" >>"$STUBS/asked"
END
printf '#!/bin/bash\necho "$1" >>"$STUBS/slept"\nexec /bin/sleep 0.02\n' >"$dir/bin/sleep"
chmod +x "$dir"/bin/*
export NODES="n1 n2"
umask 022
private() { same "for others in the run directory" "$(find "$RUN" -perm /g=w,o=rwx)" ''; }

well='0:0 1:0 2:0 3:0' lost='0:69:3 1:69:3 2:69:3'
stopped() { echo "0:75:$1 1:75:$1 2:75:$1 3:75:$1"; }
fresh() { rm -rf "$RUN" "$dir"/{about,asked,slept,starts,ready,busy,away}; touch "$dir"/{about,asked,slept,starts}; printf '%s\n' "$@" >"$PLAN"; }
check() {  # check WANTED WHAT COMMAND...
  local wanted=$1 what=$2 got
  shift 2
  "$@" >"$dir/out" 2>&1 </dev/null
  got=$?
  [ $got = "$wanted" ] || { bad "$what: exit code $got, wanted $wanted"; cat "$dir/out"; }
}
starts() { grep -vc -e node-check -e mpi=list -e 'topo --job' "$dir/starts"; }
loop() { check "$1" "$2" "$root/scripts/mpirun-loop.sh" --hosts n1:2,n2:2 x.ini; }

batch() {  # batch WANTED WHAT [VARIABLE=VALUE...] SCRIPT ARGUMENT...
  local wanted=$1 what=$2
  shift 2
  check "$wanted" "$what" env SLURM_JOB_ID=5 SLURM_JOB_NODELIST='n[1-2]' SLURM_JOB_NUM_NODES=2 BANYAN_HOME="$root" "$@"
}
train=(bash "$root/scripts/slurm/train.sbatch" x.ini)
asked() { paste -sd ';' "$dir/asked"; }
