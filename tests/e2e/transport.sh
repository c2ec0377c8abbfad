#!/bin/sh
# transport.sh BANYAN [ucx]: whatever carries messages and whatever hosts the ranks sit on, the recorded plans give the
# same bits; every value of every key of [comm] about collectives works; what is wrong is refused.
. "$(dirname "$0")/lib.sh"
dataset "$scratch/tokens.h5"
config "$scratch/c.ini" gpt2 "$scratch/run"
mesh="--parallel.tensor=2 --parallel.data=2 --parallel.zero=1 --optimizer.schedule=constant --train.steps=12 --checkpoint.every_steps=4"
transports=mpi
[ "${2:-}" = ucx ] && transports="mpi ucx"

# train CODE RUN OPTION...
train() {
  want=$1 run=$scratch/$2
  shift 2
  # shellcheck disable=SC2086
  must "$want" 4 train "$scratch/c.ini" --run.dir="$run" $mesh "$@"
}
digest() { "$banyan" inspect --digest "$scratch/$1" | grep '^digest ' || fail "inspect --digest $1"; }
same() {
  same_losses "$scratch/$1" "$scratch/$2"
  digest "$1" > "$scratch/digest.a"
  digest "$2" > "$scratch/digest.b"
  cmp "$scratch/digest.a" "$scratch/digest.b" || fail "$1 and $2 end with different tensors"
}

# ---- one book, every transport, windows or messages: the same bits
train 0 base
grep -q '"measured": true' "$scratch/base/plans.json" || fail "no links were measured"
grep -q 'data group 2 *all-reduce' "$scratch/base/plan.txt" || fail "plan.txt has no table of plans"
for t in $transports; do
  for memory in on off; do
    train 0 "$t$memory" --comm.plans="$scratch/base/plans.json" --comm.host_transport="$t" --comm.shared_memory=$memory
    same base "$t$memory"
  done
done

# ---- stopped half-way, continued another way: the recorded plans count, not what would be chosen now
train 0 way --train.steps=8 --comm.all_reduce=ring --comm.shared_memory=off --comm.host_transport=mpi
train 0 whole --comm.all_reduce=ring
train 0 way --comm.shared_memory=on
says "resuming after step 8"
same whole way
cmp "$scratch/whole/plans.json" "$scratch/way/plans.json" > /dev/null && fail "plans.json has no links of its own"
# A checkpoint carries its plans to another run directory.
saved=$(ls -d "$scratch"/way/ckpt/step-000000008*)
train 0 moved --checkpoint.resume="$saved"
digest way > "$scratch/digest.a"
digest moved > "$scratch/digest.b"
cmp "$scratch/digest.a" "$scratch/digest.b" || fail "another run directory, other bits"
grep -q '"ring"' "$scratch/moved/plans.json" || fail "the plans did not come along"
# Chosen anew on demand, and when the configuration says otherwise.
train 0 way --comm.plans=auto --train.steps=13
grep -q '"ring"' "$scratch/way/plans.json" && fail "comm.plans = auto kept the old plans"
train 0 way --comm.all_reduce=ring --train.steps=14
says "asks for other plans than the recorded ones"
must 0 2 train "$scratch/c.ini" --run.dir="$scratch/way" --parallel.tensor=2 --train.steps=15
says "chosen anew: "

# ---- every value of every key
train 0 short --train.steps=4
for pair in $("$banyan" help config comm | sed -n \
  's/^ *--comm\.\(all_reduce\|reduce_scatter\|all_gather\|broadcast\|all_to_all\|barrier\)=.*/\1/p'); do
  values=$(sed -n "s/^| \`comm\.$pair\` | [^|]* | \([^|]*\) |.*/\1/p" "$repo/configs/README.md" | sed 's/ or / /; s/,//g')
  [ -n "$values" ] || fail "no values of comm.$pair"
  for value in $values; do
    train 0 "$pair-$value" --train.steps=4 --comm.$pair="$value"
    close_losses "$scratch/$pair-$value" "$scratch/short" 1e-4 4
    case $value in
      auto) ;;
      shared) grep -q '"direct"' "$scratch/$pair-$value/plans.json" || fail "comm.$pair = $value is not in plans.json" ;;
      *) grep -q "\"$value\"" "$scratch/$pair-$value/plans.json" || fail "comm.$pair = $value is not in plans.json" ;;
    esac
  done
done

# ---- what is refused: 78, where it stands, what would be right
train 78 bad --comm.all_reduce=fastest
says "comm.all_reduce"
says "shared or mpi"
sed 's/^peer_timeout.*/&\nbarrier = loud/' "$scratch/c.ini" > "$scratch/bad.ini"
must 78 1 train "$scratch/bad.ini" --run.dir="$scratch/bad"
says "bad.ini:$(grep -n 'barrier = loud' "$scratch/bad.ini" | cut -d: -f1)"
train 78 bad --comm.all_gather=shared --comm.shared_memory=off
says "comm.shared_memory"
train 78 bad --comm.plans="$scratch/nowhere.json"
says "nowhere.json"
must 78 2 train "$scratch/c.ini" --run.dir="$scratch/bad2" --parallel.tensor=2 --comm.plans="$scratch/base/plans.json"
says "has no plans for a world of 2 ranks"
sed 's/"direct"/"magic"/' "$scratch/base/plans.json" > "$scratch/magic.json"
train 78 bad3 --comm.plans="$scratch/magic.json"
says "magic.json, the world, all-reduce"
says "there is no algorithm"
# A damaged plans.json of one's own is not passed over in silence.
rm -rf "$scratch/base/ckpt"
cp "$scratch/magic.json" "$scratch/base/plans.json"
train 65 base
says "comm.plans = auto"
