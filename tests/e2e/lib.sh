# Shared by the end-to-end tests: a scratch directory, a small dataset, runs on ranks, and what metrics.jsonl says.
# A test script starts with:  . "$(dirname "$0")/lib.sh"   and is called with the path of the program as first argument.
set -eu
banyan=$1
here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/banyan-e2e.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
export OMP_NUM_THREADS=1

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# text FILE WORDS SEED: pseudo-English, the same for the same arguments.
text() {
  awk -v words="$2" -v seed="$3" 'BEGIN {
    srand(seed)
    n = split("the river mesh tensor keeps small light under every stone while branches of old trees fall and new roots " \
              "find water again so nobody counts rings until winter ends", list, " ")
    for (i = 1; i <= words; ++i) {
      printf "%s%s", list[int(rand() * n) + 1], (i % 12) ? " " : ".\n"
      if (i % 120 == 0) printf "\n"
    }
  }' > "$1"
}

# dataset FILE [SEED]: a token file with 400 tokens of vocabulary.
dataset() {
  text "$scratch/text.txt" 20000 "${2:-1}"
  "$banyan" tokenize --vocab-size 400 --out "$1" --force "$scratch/text.txt" > "$scratch/tokenize.log" 2>&1 ||
    { cat "$scratch/tokenize.log" >&2; fail "tokenize"; }
}

# config FILE KIND RUN_DIR: a model that takes a moment per step on any mesh of up to 8 ranks; its messages take
# BANYAN_TEST_TRANSPORT where that is set.
config() {
  cat > "$1" <<EOF
[run]
dir = $3
threads = 1
seed = 7
[model]
layers = 4
width = 64
heads = 8
context = 32
[train]
steps = 20
batch = 8
[optimizer]
lr = 3e-3
min_lr = 3e-4
warmup = 4
[checkpoint]
every_steps = 0
view = false
[data]
train = $scratch/tokens.h5
[comm]
peer_timeout = 60s
host_transport = ${BANYAN_TEST_TRANSPORT:-auto}
EOF
  if [ "$2" = llama ]; then
    cat >> "$1" <<EOF
[model]
kv_heads = 4
norm = rms
position = rotary
mlp = swiglu
bias = false
tied = false
EOF
  fi
}

# on RANKS ARG...: the program on that many ranks; output in $scratch/out.log, exit code in $code.
on() {
  ranks=$1
  shift
  code=0
  timeout -k 5 120 "$repo/tests/mpirun.sh" "$ranks" "$banyan" "$@" > "$scratch/out.log" 2>&1 || code=$?
}

# must CODE RANKS ARG...: the same, with the exit code it must end with.
must() {
  want=$1
  shift
  on "$@"
  [ "$code" = "$want" ] || { cat "$scratch/out.log" >&2; fail "exit code $code instead of $want: banyan $*"; }
}

# alone CODE ARG...: the program without ranks, with the exit code it must end with; output in $scratch/out.log.
alone() {
  want=$1
  shift
  code=0
  "$banyan" "$@" > "$scratch/out.log" 2>&1 || code=$?
  [ "$code" = "$want" ] || { cat "$scratch/out.log" >&2; fail "exit code $code instead of $want: banyan $*"; }
}

# says TEXT: the last output contains it.
says() { grep -qF -- "$1" "$scratch/out.log" || { cat "$scratch/out.log" >&2; fail "the output does not say: $1"; }; }

# wait_for_step RUN STEP: until metrics.jsonl has it; the job's output is in $scratch/run.log.
wait_for_step() {
  for _ in $(seq 900); do
    [ -e "$1/metrics.jsonl" ] && grep -q "\"step\": $2," "$1/metrics.jsonl" && return
    sleep 0.05
  done
  cat "$scratch/run.log" >&2
  fail "step $2 never came"
}

# losses RUN_DIR: "step loss" of every step, the last line of a step wins.
losses() {
  sed -n 's/.*"step": \([0-9]*\),.*"loss": \([^,}]*\).*/\1 \2/p' "$1/metrics.jsonl" |
    awk '{ loss[$1] = $2; if ($1 > last) last = $1 } END { for (i = 1; i <= last; ++i) if (i in loss) print i, loss[i] }'
}

# same_losses A B: equal to the last digit.
same_losses() {
  losses "$1" > "$scratch/a.txt"
  losses "$2" > "$scratch/b.txt"
  [ -s "$scratch/a.txt" ] || fail "no losses in $1"
  diff "$scratch/a.txt" "$scratch/b.txt" > "$scratch/diff.txt" || { cat "$scratch/diff.txt" >&2; fail "losses of $1 and $2 differ"; }
}

# close_losses A B LIMIT COUNT: COUNT steps, largest relative difference at most LIMIT.
close_losses() {
  losses "$1" > "$scratch/a.txt"
  losses "$2" > "$scratch/b.txt"
  paste -d ' ' "$scratch/a.txt" "$scratch/b.txt" | awk -v limit="$3" -v count="$4" '
    { if ($1 != $3 || $2 == "null" || $4 == "null") { print "line " NR ": " $0; exit 1 }
      d = ($2 - $4) / $4; if (d < 0) d = -d; if (d > worst) worst = d; ++n }
    END { printf "%d steps, largest relative difference %.2e\n", n, worst; if (n != count || worst > limit) exit 1 }' ||
    fail "losses of $1 and $2 are not within $3 over $4 steps"
}
