#!/bin/bash
# topology.sh BANYAN: with hosts whose names do not tell where they hang, the tree found from SLURM_TOPOLOGY_ADDR alone,
# from scontrol alone and by measuring alone is the one that the box has; a source that is out of date is found out.
set -u
BOX_LEAVES='0 1 1 0'
. "$(dirname "$0")/slurm.sh"
banyan=$1
fail() { echo "FAILED: $*" >&2; cat "$BOX"/*.out >&2; exit 1; }
box_up
slurm_up || fail "Slurm does not start"
echo '[run]' >"$BOX/config.ini"
printf 'switch %s\n' 'leaf_a hosts=n1,n4' 'leaf_b hosts=n2,n3' 'top switches=leaf_a,leaf_b' >"$BOX/truth"

# Tasks that srun starts connect to each other in MPI_Init, all at the same moment; on a busy machine Open MPI 4.1.4 can die
# of that (SIGSEGV in mca_btl_tcp, before MPI_Init is done).  Started again then, with a word about it.
job() {  # job NAME RANKS OPTION...: what `banyan topo` says in a job of Slurm
  local name=$1 ranks=$2 attempt code
  shift 2
  for attempt in 1 2 3; do
    code=0
    slurm_on timeout 60 srun -N4 -n "$ranks" --overcommit --mpi=pmix "${wrapper[@]}" "$banyan" topo \
      --job "$BOX/config.ini" "$@" >"$BOX/$name.out" 2>&1 || code=$?
    grep -q 'Segmentation fault' "$BOX/$name.out" && ! grep -q -e ' hosts, ' -e 'rank [0-9]* n' "$BOX/$name.out" || return $code
    echo "attempt $attempt of $name: MPI_Init crashed" >&2
  done
  return $code
}
wrapper=()
for source in slurm scontrol probe auto; do
  job $source 4 --topology.source=$source --write "$BOX/$source.fabric" --against "$BOX/truth" || fail "$source"
  grep -q 'says the same' "$BOX/$source.out" || fail "$source found another tree"
  grep -q warning "$BOX/$source.out" && fail "$source warned"
done
# Two ranks a host: hosts are asked, not ranks.
job two 8 --topology.source=probe --against "$BOX/truth" || fail "probing with two ranks a host"
for a in slurm scontrol probe; do
  "$banyan" topo "$BOX/$a.fabric" --against "$BOX/scontrol.fabric" >"$BOX/same.out" 2>&1 || fail "$a and scontrol differ"
done
# What was measured is what the token buckets let through, 125 MB/s a host; up to a quarter of a message comes out of a
# bucket that had time to fill, and a busy machine gets less through.
awk -F'rate=' '/hosts=/ {n++; if ($2 < 60e6 || $2 > 170e6) bad = 1} END {exit n == 0 || bad}' \
  "$BOX/probe.fabric" || { cat "$BOX/probe.fabric" >&2; fail "the rates of hosts"; }

# A topology.conf that is out of date: the controller and the tasks agree on what is wrong, messages do not.
job stale 4 --topology.source=probe --against "$BOX/truth" || fail "probing"
sed -i 's/n1,n4/n1,n2/; s/n2,n3/n3,n4/' "$BOX/truth"
job stale 4 --topology.source=probe --against "$BOX/truth" && fail "a wrong description was taken for right"
grep -q 'disagree; one of them is out of date' "$BOX/stale.out" || fail "no word of what is wrong"

# A hostfile like the one in a run directory: the next launch numbers its ranks so.
printf '%s\n' n3 n1 n4 n2 >"$BOX/hostfile"
slurm_on env SLURM_HOSTFILE="$BOX/hostfile" timeout 60 srun -n 4 --distribution=arbitrary --overcommit --mpi=pmix "$banyan" \
  topo --job "$BOX/config.ini" >"$BOX/hostfile.out" 2>&1 || fail "srun with a hostfile"
box_on n1 mpirun -n 4 --hostfile "$BOX/hostfile" --map-by seq --bind-to none "$banyan" topo --job "$BOX/config.ini" \
  >"$BOX/seq.out" 2>&1 || fail "mpirun with a hostfile"
for out in hostfile seq; do
  [ "$(sed -n 's/^\(n[1-4]\): leaf.*rank \([0-9]\)$/\2\1/p' "$BOX/$out.out" | sort | tr -d '\n')" = 0n31n12n43n2 ] ||
    fail "$out: ranks sit elsewhere"
done

# Tasks that say something else than the controller does: said aloud, and what the tasks say counts.
cat >"$BOX/elsewhere" <<'WRAPPER'
#!/bin/bash
case $(hostname) in n1 | n2) leaf=leaf0 ;; *) leaf=leaf1 ;; esac
SLURM_TOPOLOGY_ADDR=spine.$leaf.$(hostname) exec "$@"
WRAPPER
chmod +x "$BOX/elsewhere"
wrapper=("$BOX/elsewhere")
job auto 4 || fail "auto"
grep -q 'warning: SLURM_TOPOLOGY_ADDR and .scontrol show topology. disagree' "$BOX/auto.out" || fail "no warning"
grep -q '^n2: leaf 0' "$BOX/auto.out" || fail "not what the tasks say"
# So is it when another source is asked, which then counts.
for source in scontrol probe; do
  job $source 4 --topology.source=$source || fail "$source beside tasks that say something else"
  grep -q 'warning: .* and SLURM_TOPOLOGY_ADDR disagree' "$BOX/$source.out" || fail "$source: no warning"
  grep -q '^n2: leaf 1' "$BOX/$source.out" || fail "not what $source says"
done

# Tasks that say nothing: the controller is asked.
printf '#!/bin/bash\nunset SLURM_TOPOLOGY_ADDR\nexec "$@"\n' >"$BOX/elsewhere"
job auto 4 --against "$BOX/scontrol.fabric" || fail "auto without addresses"
grep -q '^scontrol show topology' "$BOX/auto.out" || fail "not what the controller says"
job slurm 4 --topology.source=slurm && fail "slurm without addresses went well"
grep -q 'SLURM_TOPOLOGY_ADDR is' "$BOX/slurm.out" || fail "no word of what is missing"

# Slurm without a topology plugin tells tasks their host alone: nobody is asked, nothing is warned of.
printf '#!/bin/bash\nSLURM_TOPOLOGY_ADDR=$(hostname) SLURM_TOPOLOGY_ADDR_PATTERN=node exec "$@"\n' >"$BOX/elsewhere"
job none 4 || fail "no network is no failure"
grep -q 'nobody tells which hosts hang from which switch' "$BOX/none.out" || fail "no word of what to do"
grep -q warning "$BOX/none.out" && fail "warned without need"
grep -q '^inside n\[1-4\] (4 hosts that are alike): .* NUMA node' "$BOX/none.out" || fail "hosts have nothing inside"
job none 4 --write "$BOX/none.fabric" && fail "a network was written where nobody knows one"
exit 0
