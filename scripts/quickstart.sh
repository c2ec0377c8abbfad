#!/usr/bin/env bash
# quickstart.sh [--text FILE] [--fresh]: from a fresh clone to generated text, on one machine.
# Installs Debian packages, builds, makes a dataset of an English text, trains configs/quickstart.ini on four ranks, stops
# the job half way by a signal as a batch system would, resumes it to the end, evaluates, and lets the model write.
#   --text FILE  learn from this text instead of the Jargon File (Debian's jargon-text); a megabyte or more is good
#   --fresh      train again even if there is a finished run
# A second call reuses what is there: packages, build, dataset, and the run (an unfinished one is continued).
# Ends with 0 only if the loss fell below 60 % of ln(vocabulary) and at least half of the words written occur in the text.
set -euo pipefail
cd "$(dirname "$0")/.."

text='' fresh=false
while [ $# -gt 0 ]; do
  case $1 in
    --text) [ $# -gt 1 ] || { echo "--text needs a FILE" >&2; exit 64; }; text=$2; shift 2 ;;
    --text=*) text=${1#*=}; shift ;;
    --fresh) fresh=true; shift ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
  esac
done

vocabulary=2048
config=configs/quickstart.ini
banyan=build/release/banyan
begun=$SECONDS
heading() { printf '\n== %s  (%d s)\n' "$1" $((SECONDS - begun)); }
fail() { echo "quickstart: $1" >&2; exit "${2:-65}"; }

heading "1/7 Debian packages"
if [ -n "$text" ]; then scripts/install-deps.sh build; else scripts/install-deps.sh build text; fi
echo "all there"

heading "2/7 Build"
mkdir -p build data runs
log=build/quickstart-build.log
echo "building $banyan (the first time takes a few minutes; details in $log)"
if ! { cmake --preset release && cmake --build --preset release --target banyan -j "$(nproc)"; } >"$log" 2>&1; then
  tail -n 40 "$log" >&2
  fail "the build failed; the end of $log stands above" 70
fi
"$banyan" --version

heading "3/7 Text"
if [ -n "$text" ]; then
  [ -s "$text" ] || fail "$text is no file with text in it" 65
  # Another text makes another dataset and another run.
  name=quickstart-$(cksum <"$text" | cut -d' ' -f1)
else
  name=quickstart
  text=data/jargon.txt
  if ! [ -s "$text" ]; then
    packed=/usr/share/doc/jargon-text/jargon.txt.gz
    if ! [ -e "$packed" ]; then
      # Small container images leave out /usr/share/doc when they install a package; take it from the package itself.
      unpacked=$(mktemp -d)
      trap 'rm -rf "$unpacked"' EXIT
      chmod 755 "$unpacked"
      (cd "$unpacked" && apt-get -q download jargon-text >/dev/null && dpkg-deb -x jargon-text_*.deb .) ||
        fail "cannot get the text of the package jargon-text; name a text of yours with --text FILE" 74
      packed=$unpacked$packed
    fi
    zcat "$packed" >"$text.tmp"
    mv "$text.tmp" "$text"
  fi
fi
echo "$text: $(wc -c <"$text") bytes, $(wc -w <"$text") words"

heading "4/7 Dataset"
dataset=data/$name.h5
if [ -s "$dataset" ] && "$banyan" tokenize --check "$dataset" >/dev/null 2>&1; then
  echo "$dataset is there and whole"
else
  "$banyan" tokenize "$text" --out "$dataset" --vocab-size $vocabulary --force
fi

run=runs/$name
options=(--run.dir="$run" --data.train="$dataset")
if $fresh && [ -e "$run" ]; then
  old=$run.$(date +%Y%m%d-%H%M%S)
  mv "$run" "$old"
  echo "the earlier run is kept as $old"
fi
steps=$("$banyan" train $config "${options[@]}" --print-value=train.steps)
# Step of the newest line of metrics.jsonl; 0 when there is none.
last_step() { sed -n 's/.*"step": *\([0-9]*\).*/\1/p' "$run/metrics.jsonl" 2>/dev/null | tail -n 1 | grep . || echo 0; }
# A simple command, not a function: in the background its process must be launch.sh itself, which takes the signal.
train=(scripts/launch.sh -n 4 -- "$banyan" train $config "${options[@]}")

heading "5/7 Training on 4 ranks: 2 that split every matrix x 2 that share the batch"
if [ "$(last_step)" -ge $((steps - 1)) ]; then
  echo "$run is finished; $0 --fresh trains again"
else
  if [ "$(last_step)" -lt $((steps / 2)) ]; then
    "${train[@]}" &
    job=$!
    while [ "$(last_step)" -lt $((steps / 2)) ] && kill -0 $job 2>/dev/null; do sleep 0.5; done
    echo "--- half way: the job gets a SIGTERM, as from a batch system whose time is up"
    kill -TERM $job 2>/dev/null || true
    status=0
    wait $job || status=$?
    [ $status = 75 ] || fail "the job was to save, stop and exit with 75, but its exit code is $status" $status
    echo "--- exit code 75: saved and stopped on request. The same command again continues:"
  fi
  status=0
  "${train[@]}" || status=$?
  [ $status = 0 ] || fail "training ended with exit code $status; see $run/log.txt and $banyan --print-exit-codes" $status
fi

heading "6/7 What was learned"
loss=$(sed -n 's/.*"loss": *\([0-9.eE+-]*\).*/\1/p' "$run/metrics.jsonl" | tail -n 1)
awk -v loss="$loss" -v v=$vocabulary 'BEGIN {
  share = loss / log(v)
  printf "loss %.3f, %.0f %% of ln(%d) = %.3f, where it began\n", loss, 100 * share, v, log(v)
  exit !(share < 0.6)
}' || fail "the loss did not fall below 60 % of where it began" 76
# One rank reads what four have written: any mesh loads any checkpoint.
"$banyan" eval $config "${options[@]}" --parallel.tensor=1

heading "7/7 The model writes"
sample=$run/sample.txt
"$banyan" generate $config "${options[@]}" --parallel.tensor=1 --prompt "The hacker" --prompt "A computer is" | tee "$sample"
words() { tr -cs "A-Za-z'" '\n' | tr 'A-Z' 'a-z' | grep -E '[a-z]' || true; }
known=$(mktemp)
words <"$text" | sort -u >"$known"
total=$(words <"$sample" | wc -l)
found=$(words <"$sample" | grep -cxFf "$known" || true)
rm -f "$known"
echo
echo "$found of $total words written occur in the text it learned from"
[ "$total" -gt 0 ] && [ $((2 * found)) -ge "$total" ] || fail "that is less than half" 65

printf '\nDone in %d s. Next:\n' $((SECONDS - begun))
cat <<END
  $banyan generate $config ${options[*]} --parallel.tensor=1 --prompt "Once upon a time"
  scripts/launch.sh -n 8 -- $banyan train $config --parallel.tensor=2 --parallel.pipeline=2 --run.dir=runs/mine
  $banyan help
END
