#!/bin/sh
# topo.sh BANYAN: what `banyan topo` says of a network in a file and of a job planned on it, and what it refuses.
. "$(dirname "$0")/lib.sh"

topo() { # topo CODE ARG...
  code=$1
  shift
  alone "$code" topo "$@"
}

matches() { grep -q -- "$1" "$scratch/out.log" || { cat "$scratch/out.log" >&2; fail "no line of the output matches: $1"; }; }

cat > "$scratch/network" <<'END'
switch core switches=spine[1-2] rate=20GB
switch spine1 switches=leaf[1-2] rate=12.5GB
switch spine2 switches=leaf3 rate=12.5GB
switch leaf1 hosts=a[1-4] rate=12.5GB
switch leaf2 hosts=b[1-3] rate=12.5GB
switch leaf3 hosts=c[1-5] rate=12.5GB
END
topo 0 "$scratch/network"
says "12 hosts, 6 switches"
says "a[1-4]  4 hosts  (12.5 GB/s each)"
topo 0 "$scratch/network" --json
python3 -c 'import json, sys; assert len(json.load(open(sys.argv[1]))["hosts"]) == 12' "$scratch/out.log"

# 100,000 hosts: two seconds of a processor and 500 MB are more than enough.
awk 'BEGIN {
  print "SwitchName=top Switches=pod[0-49]"
  for (p = 0; p < 50; ++p) printf "SwitchName=pod%d Switches=leaf[%d-%d]\n", p, 50 * p, 50 * p + 49
  for (l = 0; l < 2500; ++l) printf "SwitchName=leaf%d Nodes=n[%d-%d]\n", l, 40 * l, 40 * l + 39
}' > "$scratch/large"
python3 - "$banyan" "$scratch/large" <<'END' || fail "100,000 hosts take too much"
import resource, subprocess, sys
done = subprocess.run([sys.argv[1], "topo", sys.argv[2]], capture_output=True, text=True, check=True)
assert "100000 hosts, 2551 switches" in done.stdout, done.stdout[:200]
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"100,000 hosts: {used.ru_utime + used.ru_stime:.2f} s of a processor, {used.ru_maxrss // 1024} MB")
assert used.ru_utime + used.ru_stime < 2 and used.ru_maxrss < 500 * 1024
END

topo 64 "$scratch/network" --routes "$scratch/network"
says "faults and routes of cables can be told for what ibnetdiscover prints only"

# Several topologies in one file: the default, another by its name, and one that tells of no switches.
{
  printf '%s\n' '- topology: gpus' '  block:' '    block_sizes: [2]' '    blocks:' '      - {block: b1, nodes: "g[1-2]"}'
  printf '%s\n' '- topology: all' '  cluster_default: true' '  tree:' '    switches:' '      - {switch: s1, nodes: "n[1-4]"}'
  printf '%s\n' '- topology: login' '  flat: true'
} > "$scratch/topology.yaml"
topo 0 "$scratch/topology.yaml"
says "4 hosts, 1 switches"
topo 0 "$scratch/topology.yaml" --format yaml:gpus
says "2 hosts, 1 switches"
topo 65 "$scratch/topology.yaml" --format yaml:login
says "topology.yaml:12: topology login is flat"

job="--step $repo/configs/gpt2-124m.ini --model.vocab=50257 --parallel.tensor=4 --parallel.pipeline=2 --train.batch=48"
topo 0 "$scratch/network" $job --per-node 4 --svg "$scratch/network.svg"
says "a step on tensor 4 x data 6 x pipeline 2, placed:"
matches "^bottleneck: .* carries "
matches "^leaf2: 3 hosts, 12 ranks: tensor 0-3, pipeline 0-1, data .*; whole groups: tensor "
matches "leaf3  (12.5 GB/s, .* a step, "
grep -q "a step, .* ms</text>" "$scratch/network.svg" || fail "the picture has no loads"
topo 0 "$scratch/network" $job --per-node 4 --json
python3 - "$scratch/out.log" <<'END'
import json, sys
step = json.load(open(sys.argv[1]))["step"]
assert sorted(step["process_of"]) == list(range(48)), step["process_of"]
assert step["bottleneck"] in [w["way"] for w in step["ways"]]
assert abs(sum(a["seconds"] for a in step["axes"]) - step["seconds"]) < 1e-9
END
# The order of the ranks alternates between the leaves of this one: asked for, it costs more than the one found.
seconds() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["step"]["seconds"])' "$scratch/out.log"; }
{
  echo "switch top switches=even,odd rate=1GB"
  echo "switch even hosts=n[0,2,4,6] rate=12.5GB"
  echo "switch odd hosts=n[1,3,5,7] rate=12.5GB"
} > "$scratch/mixed"
printf '0 4 1 5 2 6 3 7\n' > "$scratch/order"
small="--step $repo/configs/gpt2-124m.ini --model.vocab=50257 --parallel.tensor=2"
topo 0 "$scratch/mixed" $small --json
found=$(seconds)
topo 0 "$scratch/mixed" $small --json "--topology.placement=pinned:$scratch/order"
python3 -c "import sys; sys.exit(not $found < 0.5 * $(seconds))" || fail "the order found takes $found s, one across $(seconds) s"

topo 64 "$scratch/network" --parallel.tensor=4
says "goes with --step CONFIG or --job CONFIG"
topo 64 "$scratch/network" --per-node 2
says "--per-node goes with --step CONFIG"
topo 78 "$scratch/network" $job --topology.placement=best
says "use auto, identity or pinned:FILE"
topo 78 "$scratch/network" $job "--topology.placement=pinned:$scratch/nowhere"
says "there is no such file"
topo 78 "$scratch/network" $job --parallel.tensor=16
says "parallel.tensor"
topo 78 "$scratch/network" --step "$scratch/nowhere.ini"
topo 64 "$scratch/network" --step "$repo/configs/gpt2-124m.ini" --per-node 0
echo "switch a hosts=n1 rate=-3" > "$scratch/network"
topo 65 "$scratch/network" $small
