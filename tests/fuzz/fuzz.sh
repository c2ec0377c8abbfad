#!/bin/bash
# fuzz.sh [--seconds N] [PARSER...]: looks for texts on which a reader of fabrics crashes, hangs, takes more than 2 GiB or
# is caught by AddressSanitizer or UBSan.  Needs clang (Debian: clang).  Parsers: slurm yaml fabric ib routes hosts
# addresses; all of them, for 300 s each, when none is named.  A finding stays in the directory it prints; exit code 1.
set -u
cd "$(dirname "$0")/../.." || exit 1
seconds=300 parsers=()
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) seconds=${2:?--seconds needs a number}; shift ;;
    slurm | yaml | fabric | ib | routes | hosts | addresses) parsers+=("$1") ;;
    *) sed -n '2,4s/^# //p' "$0" >&2; exit 64 ;;
  esac
  shift
done
[ ${#parsers[@]} -gt 0 ] || parsers=(slurm yaml fabric ib routes hosts addresses)
command -v clang++ >/dev/null || { echo "fuzz.sh needs clang++ (Debian: apt-get install clang)" >&2; exit 69; }

build=build/fuzz
mkdir -p $build
# Everything that reads texts; what talks to other ranks is left out.
sources=(comm/topology/{fabric,fabric_builder,fabric_file,fabric_text,host_list,infiniband,infiniband_fold,infiniband_routes,read_fabric,slurm_topology,slurm_tree,slurm_yaml,yaml_tree}.cpp
         src/base/{json,units}.cpp)
flags=(-std=c++20 -O1 -g -I. -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined)
objects=()
for source in "${sources[@]}"; do
  object=$build/$(echo "$source" | tr / _).o
  objects+=("$object")
  clang++ "${flags[@]}" -c "$source" -o "$object" || exit 1
done

seed() {  # seed PARSER DIRECTORY
  case $1 in
    slurm)
      printf 'SwitchName=s0 Nodes=tux[0-3]\nSwitchName=s1 Nodes=tux[4-7] LinkSpeed=900\nSwitchName=s2 Switches=s[0-1]\n' >"$2/tree"
      printf 'SwitchName=leaf0 Level=0 LinkSpeed=1 Nodes=n[1-2]\nSwitchName=spine Level=1 LinkSpeed=1 Nodes=n[1-2] Switches=leaf0\n' >"$2/show"
      printf 'BlockName=b1 Nodes=n[01-04]\nBlockName=b2 Nodes=n[05-08]\nBlockSizes=4,8\n' >"$2/block" ;;
    yaml)
      printf -- '- topology: a\n  cluster_default: true\n  tree:\n    switches:\n    - switch: s0\n      nodes: tux[0-3]\n    - switch: s1\n      children: s0\n- topology: b\n  flat: true\n' >"$2/tree"
      printf -- '- {topology: a, block: {block_sizes: [4, 8], blocks: [{block: b1, nodes: "n[01-04]"}]}}\n' >"$2/block" ;;
    fabric)
      printf 'switch top switches=l[1-2] rate=50MB cables=2\nswitch l1 hosts=n[1-2],r[1-2]n[07-08] rate=125MB\nswitch l2 hosts=n5 reason=x\n' >"$2/file" ;;
    ib | routes) cp tests/fuzz/corpus/"$1"/* "$2" ;;
    hosts) printf 'n[1-3,7],gpu[01-16]-ib[0,1],login' >"$2/list" ;;
    addresses) printf 's[4-7].s0.tux1\n--\nswitch.switch.node' >"$2/address" ;;
  esac
}

for parser in "${parsers[@]}"; do
  dir=$build/$parser
  mkdir -p "$dir/corpus" "$dir/findings"
  seed "$parser" "$dir/corpus"
  clang++ "${flags[@]}" -fsanitize=fuzzer -DFUZZ_FORMAT="\"$parser\"" tests/fuzz/targets/fabric.cpp "${objects[@]}" \
    -o "$dir/fuzzer" -lfmt -lspdlog -lyaml-cpp || exit 1
  echo "$parser: $seconds s"
  "$dir/fuzzer" -max_total_time="$seconds" -max_len=16384 -rss_limit_mb=2048 -timeout=60 -print_final_stats=1 \
    -artifact_prefix="$dir/findings/" "$dir/corpus" >"$dir/log" 2>&1 ||
    { tail -n 40 "$dir/log"; echo "$parser: a finding, in $dir/findings" >&2; exit 1; }
  grep -E 'number_of_executed_units|peak_rss_mb' "$dir/log"
  grep -o 'cov: [0-9]*' "$dir/log" | tail -n 1
done
