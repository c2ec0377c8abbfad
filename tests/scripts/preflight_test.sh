#!/usr/bin/env bash
# scripts/slurm/preflight.sh with a made-up program and nodes: what it refuses, with which code, and which nodes it blames.
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for name in $(compgen -v SLURM_) $(compgen -v BANYAN); do unset "$name"; done
mkdir "$dir/bin"
export PATH=$dir/bin:$PATH BANYAN=$dir/bin/banyan TMPDIR=$dir
touch "$dir/tokens.h5"

# One rank takes no schedule, chunks or stages of several.
cat >"$dir/bin/banyan" <<'END2'
#!/bin/bash
last() { local a value=$2; for a in "${all[@]}"; do case $a in --parallel.$1=*) value=${a#*=} ;; esac; done; echo "$value"; }
all=("$@")
case "$*" in
  plan*)
    [ "$(last schedule 1f1b)/$(last virtual_stages 0)/$(last stages auto)" = 1f1b/0/auto ] || exit 78
    [ -z "${PARAMETERS:-}" ] || echo "  parameters  475 MiB  $PARAMETERS x 4 B" ;;
  *--print-value=data.train*) [ -z "${REFUSE:-}" ] || exit "$REFUSE"; echo "$TMPDIR/tokens.h5:2" ;;
esac
END2
printf '#!/bin/bash\n' >"$dir/bin/launcher"
chmod +x "$dir"/bin/*
# tool NAME LINE...: a made-up program on the PATH until the next without.
tool() { printf '%s\n' '#!/bin/bash' "${@:2}" >"$dir/bin/$1"; chmod +x "$dir/bin/$1"; }
without() { rm -f "$dir/bin/$1"; }

failures=0
bad() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}
same() { [ "$2" = "$3" ] || bad "$1: '$2' instead of '$3'"; }  # same WHAT GOT WANTED

. "$root/scripts/slurm/lib.sh"
run_dir=$dir/run launcher=launcher
each_node() {
  local node
  if [ "$1" = ranks ]; then return; fi
  for node in $nodes; do SLURMD_NODENAME=$node "${@:2}"; done
}
# pre CODE LOST WHAT [ARGUMENT...]: how the preflight ends on $nodes, and whom it blames; its words are in $dir/out.
pre() {
  code=0 lost=''
  preflight x.ini "${@:4}" 2>"$dir/out"
  same "$3" "$? $code $lost" "$(($1 > 0)) $1 $2"
  [ -z "$(ls -A "$run_dir" | grep '^\.preflight')" ] || bad "$3: left behind $(ls -A "$run_dir")"
}
said() { grep -q "$1" "$dir/out" || bad "it does not say '$1': $(cat "$dir/out")"; }

nodes="n1 n2"
pre 0 '' "all well"
REFUSE=78 pre 78 '' "the data files are refused"

# ------------------------------------------------------------------------------------------------------- room
tool df 'case "$*" in *shm*) exec /usr/bin/df "$@" ;; -Pi*) exit ;; esac' 'printf "%s\n" "Filesystem" "x 9999 0 ${FREE:-0} 1% /"'
export FREE=100
PARAMETERS=1000 pre 0 '' "room for a first checkpoint"
PARAMETERS=100000 pre 74 '' "no room for a first checkpoint"
for option in --parallel.schedule=interleaved --parallel.virtual_stages=2 --parallel.stages=5,7; do
  PARAMETERS=100000 pre 74 '' "no room with $option" $option
done
# What the program removes when it starts is not in the way.
mkdir -p "$run_dir"/ckpt/{step-000000010.e1,step-000000020.e1.tmp,.trash-step-000000005.e1}
head -c 204800 /dev/urandom >"$run_dir/ckpt/step-000000010.e1/0"
pre 74 '' "no room for another checkpoint"
head -c 102400 /dev/urandom >"$run_dir/ckpt/step-000000020.e1.tmp/0"
head -c 102400 /dev/urandom >"$run_dir/ckpt/.trash-step-000000005.e1/0"
tool fallocate 'echo "$*" >"$TMPDIR/reserved"'
pre 0 '' "room where a save was killed"
got=$(sed -n 's/-l \([0-9]*\)KiB .*/\1/p' "$dir/reserved")
[ "${got:-0}" -ge 1 ] && [ "$got" -le 100 ] || bad "reserved: $(cat "$dir/reserved")"
FREE=1000 pre 0 '' "room beside it"
tool df 'case "$*" in *shm*) exec /usr/bin/df "$@" ;; -Pi*) echo; echo "x 99 0 ${FILES:-99} 1% /" ;;' \
  '*) printf "%s\n" "Filesystem" "x 9999 0 9999 1% /" ;; esac'
FILES=29 pre 0 '' "files where a save was killed"
FILES=28 pre 74 '' "no more files"
without fallocate
without df
rm -r "$run_dir/ckpt"

[ $failures = 0 ] && echo "all passed"
exit $((failures > 0))
