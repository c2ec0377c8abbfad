#!/bin/bash
# storage.sh BANYAN LIBFAULTIO CASE: whole jobs on storage that is odd from the first call to the last.
#   late        rank 1 finds the names that others make only a moment after it has looked for them: the job goes on all the same
#   never       rank 1 never finds what rank 0 makes in the run directory: 78 before anything is trained
#   never_save  the same for checkpoints that are saved: three misses, then 74
#   never_load  the same for checkpoints that are there: 78, and none of them is marked BAD
#   locks       files cannot be locked (ENOLCK, ENOSYS): nobody wants to, also where the user has HDF5 insist
#   twice       two starts at the same moment, one of which looks late for what it wrote: neither takes that for storage that
#               is not shared
#   drain       the same with node-local checkpoints: they go on, and the newest comes when the one before has been copied
#   refused     the same, and the nodes do not take one that is due: it goes straight into the run directory after the copy
#   between     the same, and they do not take one that is not due: the newest that is comes all the same
#   slow        storage of 100 KB/s: saves that are due meanwhile are left out, loudly; never are two on their way
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/counted.sh"
case=$3
saw() { grep -q "$1" "$scratch/out.log" || { cat "$scratch/out.log" >&2; fail "no word of '$1'"; }; }
wants() { [ "$code" = "$1" ] || { cat "$scratch/out.log" >&2; fail "exit code $code instead of $1"; }; }
struck() { [ -e "$scratch/reached" ] || { cat "$scratch/out.log" >&2; false; } || fail "no call was hit"; }
# late SECONDS UNDER: the job of lib.sh on two ranks, where rank 1 is late with the names below UNDER.
late() {
  injected
  code=0
  job "$run" 2 $last "$scratch/out.log" LD_PRELOAD="$library" FAULT_LATE="$1" FAULT_RANK=1 FAULT_UNDER="$2" \
    FAULT_REACHED="$scratch/reached" || code=$?
}
# until_true WHAT COMMAND...: within 60 s.
until_true() {
  local what=$1
  shift
  for _ in $(seq 600); do
    "$@" && return
    sleep 0.1
  done
  cat "$scratch/out.log" >&2
  fail "no $what"
}

case $case in
  late | never_load)
    prepare 2
    run=$scratch/lane/run
    mkdir "$scratch/lane"
    cp -r "$scratch/template/run" "$run"
    if [ "$case" = never_load ]; then
      job_limit=400  # a minute for each of two checkpoints, twice
      late 1000 "$run/ckpt"
      struck
      wants 78
      saw 'is not visible here although rank 0 sees it'
      [ -z "$(ls "$run/ckpt" | grep BAD)" ] || fail "what one host does not see is marked BAD"
      from=4
    else
      from=$last
      late 0.3 "$run"
      struck
      wants 0
      saw 'resuming after step 4'
    fi
    wrong=$(recovers "$run" 2 $from)
    [ -z "$wrong" ] || fail "$wrong"
    ;;
  never | never_save)
    dataset "$scratch/tokens.h5"
    config "$scratch/c.ini" gpt2 "$scratch/unused"
    run=$scratch/run
    if [ "$case" = never ]; then
      late 1000 "$run"
      wants 78
      saw 'is not shared: this rank does not see what rank 0 wrote there'
    else
      late 1000 "$run/ckpt"
      wants 74
      saw 'failed (3 of 3 tries): .*rank 1 .*is not visible here although rank 0 made it'
      [ -z "$(ls "$run/ckpt")" ] || fail "something is left in ckpt"
    fi
    struck
    ;;
  locks)
    # Also where the user has HDF5 insist: it makes files in memory alone.
    for insist in FALSE TRUE; do
      for error in ENOLCK ENOSYS; do
        injected
        odd="env LD_PRELOAD=$library FAULT=lock:0:$error FAULT_UNDER=$scratch FAULT_REACHED=$scratch/reached HDF5_USE_FILE_LOCKING=$insist"
        if $odd flock "$scratch" true 2>/dev/null; then fail "locks work: this test sees nothing"; fi
        rm -rf "$scratch/run" "$scratch/reached"
        text "$scratch/text.txt" 20000 1
        config "$scratch/c.ini" gpt2 "$scratch/run"
        for what in "tokenize --vocab-size=400 --out=$scratch/tokens.h5 --force $scratch/text.txt" "train $scratch/c.ini --train.steps=4" \
          "train $scratch/c.ini --train.steps=8" "eval $scratch/c.ini" "inspect $scratch/run --verify --digest --merge=$scratch/$insist$error.h5"; do
          case $what in train* | eval*) what="$what $job --checkpoint.view=true" ;; esac
          # shellcheck disable=SC2086
          $odd "$banyan" $what >"$scratch/out.log" 2>&1 || { cat "$scratch/out.log" >&2; fail "$what, $error"; }
        done
        [ -e "$scratch/run/ckpt/step-000000008.e2/view.h5" ] || fail "no view.h5, $error"
        [ ! -e "$scratch/reached" ] || fail "something was to be locked"
      done
    done
    ;;
  twice)
    dataset "$scratch/tokens.h5"
    config "$scratch/c.ini" gpt2 "$scratch/unused"
    run=$scratch/run
    injected
    job "$run" 1 $last "$scratch/out.log" LD_PRELOAD="$library" FAULT=open:1:pause FAULT_UNDER="$run/shared-probe" \
      FAULT_REACHED="$scratch/reached" &
    pid=$!
    until_true "look at what was written" test -e "$scratch/reached"
    job "$run" 1 4 "$scratch/other.log" || fail "the other start ended with $?: $(cat "$scratch/other.log")"
    code=0
    wait $pid || code=$?
    wants 0
    saw 'resuming after step 4'
    [ "$(ls "$run" | grep -c probe)" = 0 ] || fail "what was written stays: $(ls "$run" | paste -sd ' ')"
    ;;
  slow)
    dataset "$scratch/tokens.h5"
    config "$scratch/c.ini" gpt2 "$scratch/unused"
    run=$scratch/run
    injected
    touch "$scratch/slow"
    job "$run" 2 1000000 "$scratch/out.log" LD_PRELOAD="$library" FAULT_SPEED=2000 FAULT_WHEN="$scratch/slow" FAULT_UNDER="$run/ckpt" &
    pid=$!
    left_out() { [ "$(grep -c 'is left out: the one after step 2 is being written for' "$scratch/out.log")" -ge 3 ]; }
    until_true "save that is left out" left_out
    [ "$(ls "$run/ckpt")" = step-000000002.e1.tmp ] || fail "in ckpt are $(ls "$run/ckpt" | paste -sd ' ')"
    rm "$scratch/slow"
    until_true "save after the storage recovered" grep -q 'saved step-00000000[4-9]\|saved step-00[0-9]*[1-9][0-9]\.' "$scratch/out.log"
    "$banyan" stop "$run"
    code=0
    wait $pid || code=$?
    wants 75
    saw '[0-9]* were left out because storage was too slow'
    # What is kept for the copy is taken once.
    sed -n 's/.*"memory": \([0-9]*\).*/\1/p' "$run/metrics.jsonl" >"$scratch/memory"
    [ $(($(tail -n 1 "$scratch/memory") - $(sed -n 3p "$scratch/memory"))) -lt 4000000 ] || fail "memory grows: $(paste -sd ' ' "$scratch/memory")"
    stopped=$(losses "$run" | wc -l)
    job "$scratch/whole" 2 "$stopped" "$scratch/whole.log" || { cat "$scratch/whole.log" >&2; fail "the undisturbed job"; }
    same_losses "$run" "$scratch/whole"
    echo "$(grep -c 'is left out:' "$scratch/out.log") saves were left out"
    ;;
  drain)
    dataset "$scratch/tokens.h5"
    config "$scratch/c.ini" gpt2 "$scratch/unused"
    run=$scratch/run
    injected
    touch "$scratch/slow"
    mkdir "$scratch/local"
    plain=$job job="$job --checkpoint.local=$scratch/local --checkpoint.local_every=1"
    job "$run" 2 1000000 "$scratch/out.log" LD_PRELOAD="$library" FAULT_SPEED=2000 FAULT_WHEN="$scratch/slow" FAULT_UNDER="$run/ckpt" &
    pid=$!
    gone_on() { [ "$(grep -c 'saved step-.* on the nodes' "$scratch/out.log")" -ge 20 ]; }
    until_true "node-local checkpoints while one is copied" gone_on
    [ "$(ls "$run/ckpt")" = step-000000002.e1.tmp ] || fail "in ckpt are $(ls "$run/ckpt" | paste -sd ' ')"
    reached=$(sed -n 's/.*saved step-0*\([1-9][0-9]*\)\.e1 on the nodes.*/\1/p' "$scratch/out.log" | tail -n 1)
    rm "$scratch/slow"
    copied() { [ "$(grep -c 'saved step-.* from the nodes' "$scratch/out.log")" -ge 2 ]; }
    until_true "copies after the storage recovered" copied
    sed -n 's/.*saved step-0*\([1-9][0-9]*\)\.e1 from the nodes.*/\1/p' "$scratch/out.log" >"$scratch/copied"
    [ "$(head -n 1 "$scratch/copied")" = 2 ] || fail "step $(head -n 1 "$scratch/copied") was copied first"
    [ "$(sed -n 2p "$scratch/copied")" -ge "$reached" ] || fail "step $(sed -n 2p "$scratch/copied") followed, the nodes had $reached"
    "$banyan" stop "$run"
    code=0
    wait $pid || code=$?
    wants 75
    if grep -q 'is left out' "$scratch/out.log"; then fail "a save was left out"; fi
    [ -z "$(ls -A "$scratch/local")" ] || fail "left on the node: $(ls "$scratch/local")"
    stopped=$(losses "$run" | wc -l)
    job=$plain
    job "$scratch/whole" 2 "$stopped" "$scratch/whole.log" || { cat "$scratch/whole.log" >&2; fail "the undisturbed job"; }
    same_losses "$run" "$scratch/whole"
    digest_of "$run" >"$scratch/run.digest"
    digest_of "$scratch/whole" | cmp - "$scratch/run.digest" || fail "the values at the end differ"
    echo "$reached steps were saved on the nodes while one was copied"
    ;;
  refused | between)
    # Steps that are due: 4000, 8000, ...; where something stands in the way of a commit on the node: 8000, or 8400.
    dataset "$scratch/tokens.h5"
    config "$scratch/c.ini" gpt2 "$scratch/unused"
    run=$scratch/run obstacle=8000
    [ "$case" = refused ] || obstacle=8400
    injected
    touch "$scratch/slow"
    mkdir "$scratch/local"
    job="${job/every_steps=2/every_steps=4000} --checkpoint.local=$scratch/local --checkpoint.local_every=400 --log.every=1000"
    job "$run" 1 1000000 "$scratch/out.log" LD_PRELOAD="$library" FAULT_SPEED=500 FAULT_WHEN="$scratch/slow" FAULT_UNDER="$run/ckpt" &
    pid=$!
    nodes_dir() { ls -d "$scratch"/local/banyan-*/ckpt >"$scratch/found" 2>/dev/null; }
    until_true "node-local directory" nodes_dir
    mkdir -p "$(head -n 1 "$scratch/found")/step-00000$obstacle.e1/in-the-way"
    until_true "save that is refused" grep -q "no node-local checkpoint after step $obstacle: .*is there already" "$scratch/out.log"
    if grep -q 'from the nodes' "$scratch/out.log"; then fail "the copy was faster than the training: this test sees nothing"; fi
    rm "$scratch/slow"
    in_run_dir() { [ "$(grep 'saved step-' "$scratch/out.log" | grep -vc 'on the nodes')" -ge 2 ]; }
    until_true "two checkpoints in the run directory" in_run_dir
    "$banyan" stop "$run"
    code=0
    wait $pid || code=$?
    wants 75
    grep 'saved step-' "$scratch/out.log" | grep -v 'on the nodes' | head -n 2 >"$scratch/saved"
    grep -q '^saved step-000004000.e1 from the nodes' "$scratch/saved" || fail "first came $(cat "$scratch/saved")"
    second=$(sed -n '2s/.*saved step-0*\([1-9][0-9]*\)\..*/\1/p' "$scratch/saved")
    # The next that is due comes without any of this.
    [ "$second" -ge 8000 ] && [ "$second" -lt 12000 ] || fail "the next to come was $(tail -n 1 "$scratch/saved")"
    ways=$(grep -c "step-0*$second.e1 from the nodes" "$scratch/saved" || true)
    [ "$case:$ways" = refused:0 ] || [ "$case:$ways" = between:1 ] || fail "it came the other way: $(tail -n 1 "$scratch/saved")"
    ;;
  *) fail "there is no case $case" ;;
esac
kept
