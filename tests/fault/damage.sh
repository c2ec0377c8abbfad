#!/bin/bash
# damage.sh BANYAN LIBRARY POINTS [FILES [KINDS]]: damages every file of the newest checkpoint of a run, or only FILES, in
# every way of the table in README.md (T1 to T5), at POINTS places of each, or there only in KINDS (cut, hole, flip).
# Promised: `banyan inspect --verify` ends with 65; the next start never crashes and ends with the losses and values of the
# undisturbed job, from the checkpoint before, told and marked BAD with everything left in its place, or, where the bytes
# are none that a restore reads, from this one.  What only hints at a checkpoint (LATEST, the released lease) may be
# damaged in the same ways without any of that.
. "$(dirname "$0")/lib.sh"
points=$3 files=${4:-MANIFEST.json shard-00000.h5 ../../LATEST ../../lease/e1/BASE ../../lease/e1/OWNER}
kinds=${5:-cut hole flip}
prepare 1
newest=step-000000004.e1 older=step-000000002.e1
from=$scratch/template/run/ckpt

# put FILE AT BYTES: printf's BYTES over what is there.
put() { printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc 2> /dev/null; }

# damage KIND FILE AT: does it.
damage() {
  case $1 in
    cut) truncate -s "$3" "$2" ;;
    hole) dd if=/dev/zero of="$2" bs=1 seek="$3" count=512 conv=notrunc 2> /dev/null ;;
    flip)
      byte=$(od -An -tu1 -j "$3" -N 1 "$2")
      put "$2" "$3" "\\$(printf %o $((byte ^ (1 << ($3 % 8)))))" ;;
    longer) printf x >> "$2" ;;
    older) cp "$from/$older/${2##*/}" "$2" ;;
    missing) rm "$2" ;;
    link) mv "$2" "$2.aside" && ln -s "${2##*/}.aside" "$2" ;;
    dangling) rm "$2" && ln -s nowhere "$2" ;;
    folder) rm "$2" && mkdir "$2" ;;
    pipe) rm "$2" && mkfifo "$2" ;;
  esac
}

# one KIND FILE AT: a damage, what inspect says, and the start after it; prints what is wrong.
one() {
  run=$scratch/lane$lane/run
  rm -rf "$scratch/lane$lane"
  mkdir "$scratch/lane$lane"
  cp -r "$scratch/template/run" "$run"
  bad=$run/ckpt/$newest
  damage "$1" "$bad/$2" "$3"
  if [ -f "$bad/$2" ] && [ ! -h "$bad/$2" ] && cmp -s "$bad/$2" "$from/$newest/$2"; then
    return  # a hole where there were zeros
  fi
  echo ran
  code=0
  timeout 60 "$banyan" inspect --verify "$run" > "$run.inspect" 2>&1 || code=$?
  case $2 in
    ../*)
      [ $code = 0 ] || echo "inspect --verify ended with $code"
      recovers "$run" 1 4
      return ;;
  esac
  [ $code = 65 ] || echo "inspect --verify ended with $code"
  recovers "$run" 1 2
  if grep -q "resuming after step 2" "$run.recover.log"; then
    grep -q "CHECKPOINT NOT USED" "$run.recover.log" || echo "nobody was told"
    [ -e "$bad.BAD" ] || echo "it was not marked"
    [ -d "$bad" ] || echo "it was removed"
  elif [ "$2" = MANIFEST.json ]; then
    echo "a damaged manifest was used"
  fi
}

: > "$scratch/list"
for file in $files; do
  size=$(stat -c %s "$from/$newest/$file")
  case $file in ../*) ;; *) echo "older $file 0" >> "$scratch/list" ;; esac
  for kind in longer missing link dangling folder pipe; do echo "$kind $file 0" >> "$scratch/list"; done
  for kind in $kinds; do
    # A file shorter than that has every place once.
    for i in $(seq 0 $((points - 1))); do echo "$kind $file $((i * (size - 1) / (points - 1)))"; done | uniq >> "$scratch/list"
  done
done
for lane in 1 2 3 4; do
  (sed -n "$lane~4p" "$scratch/list" | while read -r kind file at; do
    wrong=$(one "$kind" "$file" "$at" < /dev/null)
    case $wrong in
      '') echo "same $kind $file $at" ;;
      ran) echo "ok $kind $file $at" ;;
      *) echo "BROKEN: $kind of $file at $at: $(echo "$wrong" | tr '\n' ';')" ;;
    esac
  done) > "$scratch/results.$lane" 2> "$scratch/err.$lane" &
done
wait
cat "$scratch"/results.? > "$scratch/all"
if grep ^BROKEN "$scratch/all"; then cat "$scratch"/err.?; fi
faults=$(grep -vc '^same' "$scratch/all") broken=$(grep -c ^BROKEN "$scratch/all" || true)
echo "$faults faults injected, $broken promises broken"
[ "$broken" = 0 ] && [ "$faults" -gt 20 ]
