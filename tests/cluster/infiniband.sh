#!/bin/bash
# infiniband.sh BANYAN: a fabric of 1,024 hosts below 32 leaves and 16 spines, made by ibsim, routed by opensm and read by
# the real ibnetdiscover, is rebuilt exactly; a cut cable, a narrow one, one with errors and routes that crowd each take
# capacity away, and enough cut cables change where the ranks of a job sit.
set -u
banyan=$1
repo=$(cd "$(dirname "$0")/../.." && pwd)
for tool in ibsim opensm ibnetdiscover ibqueryerrors dump_fts; do
  command -v $tool >/dev/null || { echo "SKIPPED: there is no $tool; scripts/install-deps.sh installs it" >&2; exit 77; }
done
leaves=32 width=32 spines=16
scratch=$(mktemp -d)
children=()
finish() {
  exec 3>&-
  kill -KILL "${children[@]}" 2>/dev/null
  rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP
cd "$scratch" || exit 1
fail() { echo "FAILED: $*" >&2; exit 1; }
export IBSIM_SOCKNAME=banyan.$$ OSM_TMP_DIR=$scratch OSM_CACHE_DIR=$scratch

# net [NARROW]: cables are 4xHDR; with NARROW that between leaf00 and spine00 has one lane.
net() {
  awk -v leaves=$leaves -v width=$width -v spines=$spines -v narrow="${1:-}" '
    function end(port, peer, peer_port, lanes) { printf "[%d]\t\"%s\"[%d]\tw=%d\ts=7\te=7\n", port, peer, peer_port, lanes }
    function lanes(l, s) { return narrow != "" && l == 0 && s == 0 ? 1 : 2 }
    BEGIN {
      for (l = 0; l < leaves; l++)
        for (h = 0; h < width; h++) {
          printf "Hca\t1 \"node%04d\"\n", l * width + h
          end(1, sprintf("leaf%02d", l), h + 1, 2)
          print ""
        }
      for (l = 0; l < leaves; l++) {
        printf "Switch\t%d \"leaf%02d\"\n", width + spines, l
        for (h = 0; h < width; h++) end(h + 1, sprintf("node%04d", l * width + h), 1, 2)
        for (s = 0; s < spines; s++) end(width + s + 1, sprintf("spine%02d", s), l + 1, lanes(l, s))
        print ""
      }
      for (s = 0; s < spines; s++) {
        printf "Switch\t%d \"spine%02d\"\n", leaves, s
        for (l = 0; l < leaves; l++) end(l + 1, sprintf("leaf%02d", l), width + s + 1, lanes(l, s))
        print ""
      }
    }'
}

route() {  # route ENGINE: addresses and routes; -D 0x43 has opensm write them down, too
  SIM_HOST=node0000 timeout -s KILL 60 ibsim-run opensm -o -R "$1" -f opensm.log -e -D 0x43 </dev/null >opensm.out 2>&1
}
up() {  # up NET: ibsim, with its console at descriptor 3, and a fabric with addresses and routes
  rm -f console
  mkfifo console
  setpriv --pdeathsig KILL ibsim -s -N 4000 -S 200 -P 20000 "$1" <console >ibsim.log 2>&1 &
  children+=($!)
  exec 3>console
  sleep 1
  route ftree
  grep -q 'SUBNET UP' opensm.log && return
  tail -n 5 ibsim.log opensm.log opensm.out >&2
  fail "opensm does not bring the fabric up"
}
down() {
  exec 3>&-
  { kill -KILL "${children[@]}"; wait "${children[@]}"; } 2>/dev/null
  children=()
  rm -f opensm.log neighbors guid2*
}
look() { SIM_HOST=node0001 timeout 60 ibsim-run ibnetdiscover </dev/null >"$1.ib" 2>"$1.err" || fail "ibnetdiscover: $(cat "$1.err")"; }
routes() { SIM_HOST=node0001 timeout 60 ibsim-run dump_fts </dev/null >"$1.fts" 2>"$1.err" || fail "dump_fts: $(cat "$1.err")"; }
topo() { "$banyan" topo "$@" >topo.out 2>&1 || { cat topo.out >&2; fail "banyan topo $*"; }; }

net >whole.net
up whole.net
look whole
topo whole.ib --write whole.fabric
# The same, written down by hand from how it is wired.
{
  echo 'switch top switches=leaf[00-31] cables=16 rate=400000000000'
  for l in $(seq 0 $((leaves - 1))); do
    printf 'switch leaf%02d hosts=node[%04d-%04d] cables=1 rate=25000000000\n' "$l" $((l * width)) $((l * width + width - 1))
  done
} >truth.fabric
topo whole.ib --against truth.fabric
grep -q 'says the same' topo.out || fail "not the fabric that was made"
"$banyan" topo whole.ib | grep -q '1024 hosts, 33 switches' || fail "not all hosts"
topo truth.fabric --write truth.again
diff <(sed 's/spine00_and_15_more/top/g' whole.fabric) truth.again || fail "cables or rates differ"

# A fat tree is routed evenly, so that its routes take nothing away.
routes whole
for file in whole.fts opensm-lfts.dump; do
  topo whole.ib --routes $file --write routed.fabric
  grep -q 'note: by its routes the busiest cable of a way has 1 times its share' topo.out || { tail topo.out; fail "$file"; }
  cmp -s whole.fabric routed.fabric || { diff whole.fabric routed.fabric; fail "$file: even routes took something away"; }
done

# Capacity of leaf00 upwards, as `plan` and placements read it.
capacity() { sed -n 's/^|\{0,1\}`\{0,1\}-- leaf00  (\(.*\))$/\1/p' topo.out; }

echo 'PerformanceSet "leaf00"[33] PortCounters.SymbolErrorCounter=500' >&3
sleep 0.5
# ibqueryerrors asks a subnet manager that stays.
SIM_HOST=node0000 setpriv --pdeathsig KILL ibsim-run opensm -R ftree -s 0 -f opensm2.log \
  </dev/null >opensm.out 2>&1 &
children+=($!)
for _ in $(seq 20); do
  sleep 0.5
  SIM_HOST=node0001 timeout 20 ibsim-run ibqueryerrors </dev/null >errors.txt 2>/dev/null && grep -q Summary errors.txt && break
done
grep -q SymbolErrorCounter errors.txt || fail "ibqueryerrors does not see the counter"
topo whole.ib --errors errors.txt
[ "$(capacity)" = '16 cables, 387.5 GB/s, DEGRADED: 1_faulty' ] || { cat topo.out; fail "an error counter: $(capacity)"; }

echo 'Unlink "leaf00"[33]' >&3
sleep 0.5
look cut
topo cut.ib
[ "$(capacity)" = '15 cables, 375 GB/s, DEGRADED: 15_of_16_cables' ] || { head topo.out; fail "a cut cable: $(capacity)"; }
# Without the cable this is no fat tree to opensm: it finds routes of as few steps as possible, which do not spread as well.
route minhop
routes cut
topo cut.ib --routes cut.fts
grep -q 'do not arrive' topo.out && { tail topo.out; fail "routes around a cut cable"; }
capacity | grep -q '^15 cables, [0-9.]* GB/s, DEGRADED: 15_of_16_cables,busiest_cable_.*_times_its_share$' ||
  { head topo.out; fail "routes around a cut cable: $(capacity)"; }
capacity | awk '{exit !($3 < 350)}' || fail "crowded cables carry less: $(capacity)"
# Those from before still lead to it.
topo cut.ib --routes whole.fts
grep -q 'routes between adapters do not arrive by whole.fts' topo.out || { tail topo.out; fail "routes over a cut cable"; }
# Its counters are no reason to refuse the file once the cable is gone.
topo cut.ib --errors errors.txt
grep -q '1 ports with errors have no cable' topo.out || { tail topo.out; fail "errors of a cut cable"; }

# A job on all hosts: with whole cables the order of the ranks does; a leaf that has lost twelve of sixteen has the stages
# of a pipeline below it, so that less of what they say goes up.
job=(--step "$repo/configs/gpt2-124m.ini" --model.vocab=50257 --parallel.tensor=4 --parallel.pipeline=2
  --parallel.microbatch=1 --train.batch=4096)
for port in $(seq 34 44); do echo "Unlink \"leaf00\"[$port]" >&3; done
sleep 0.5
look torn
topo torn.ib
[ "$(capacity)" = '4 cables, 100 GB/s, DEGRADED: 4_of_16_cables' ] || { head topo.out; fail "twelve cut cables: $(capacity)"; }
topo whole.ib "${job[@]}"
grep -q 'placed: ranks as given$' topo.out || { grep placed topo.out; fail "a whole fabric moves ranks"; }
topo torn.ib "${job[@]}"
grep -q 'placed: .*tensor, pipeline, data' topo.out || { grep placed topo.out; fail "cut cables do not change the placement"; }
grep -q '^leaf00: .*whole groups: tensor 8 of 8, pipeline 16 of 16' topo.out || { grep ^leaf00 topo.out; fail "stages apart"; }
down

net narrow >narrow.net
up narrow.net
look narrow
topo narrow.ib
[ "$(capacity)" = '16 cables, 381.2 GB/s, DEGRADED: 23.8_instead_of_25_GB/s_a_cable' ] ||
  { head topo.out; fail "a narrow cable: $(capacity)"; }
"$banyan" topo whole.ib --against cut.ib | grep -q 'says the same' || fail "a cut cable moved hosts"
exit 0
