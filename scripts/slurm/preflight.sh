# preflight.sh: what would waste an allocation, found out in seconds, before the ranks start; lib.sh reads it.
#   batch node   launcher, configuration, run directory, room for one more checkpoint (space, quota, files)
#   every node   sees and writes the same run directory, runs the program, has room in /dev/shm, reads the same token files, its
#                clock is right, its GPUs and network adapters are there, the site's own check is content
#   ranks        one on every node start and find each other
# Environment: BANYAN_PREFLIGHT=full reads token files as a whole, off leaves all of it out; BANYAN_NODE_CHECK: a command of
# the site that every node runs, fit when it ends with 0; BANYAN_GPUS: GPUs that a node must have (in Slurm: those allocated).

# judge_nodes NODES BEFORE AFTER <lines of node_check: problems, one "NODE: words" a line. NODES ("n1 n2") were asked
# between the times BEFORE and AFTER of this clock. It may be the one that is wrong: the middle of all clocks is right.
# Where nodes that answer are an even number, this clock votes, too.
judge_nodes() {
  awk -v nodes="$1" -v before="$2" -v after="$3" '
    # What most of the fit nodes say; of equal votes the larger text, so that the order of the lines does not matter.
    function most(said,   i, h, v, votes, best) {
      for (i = 1; i <= n; ++i) { h = list[i]; if (seen[h] && problem[h] == "") ++votes[said[h]] }
      for (v in votes) if (best == "" || votes[v] > votes[best] || (votes[v] == votes[best] && v "" > best "")) best = v
      return best
    }
    function middle_time(   i, k, j, t, sorted) {
      if (answers % 2 == 0) sorted[++k] = before
      for (i = 1; i <= n; ++i) if (seen[list[i]]) {
        t = time[list[i]] + 0
        for (j = ++k; j > 1 && sorted[j - 1] > t; --j) sorted[j] = sorted[j - 1]
        sorted[j] = t
      }
      return sorted[int((k + 1) / 2)]
    }
    $1 == "node" && NF >= 5 { seen[$2] = 1; time[$2] = $3; data[$2] = $4; adapters[$2] = $5; words = ""
                              for (i = 6; i <= NF; ++i) words = words " " $i; problem[$2] = words }
    END {
      n = split(nodes, list, " ")
      same_data = most(data); usual = most(adapters)
      for (i = 1; i <= n; ++i) if (seen[list[i]]) ++answers
      now = middle_time(); apart = 60 + (after > before ? after - before : 0)  # not all are asked at once
      for (i = 1; i <= n; ++i) {
        h = list[i]
        if (!seen[h]) print h ": does not answer"
        else if (problem[h] != "") print h ":" problem[h]
        else if (data[h] != same_data) print h ": sees other data than most nodes"
        else if (adapters[h] + 0 < usual + 0) print h ": has " adapters[h] " network adapters that work, most nodes have " usual
        else if (time[h] < now - apart || time[h] > now + apart) print h ": its clock is off by more than a minute"
      } }'
}

# --------------------------------------------------------------------------------------------------------- on every node

# fingerprint DATA...: of sizes and both ends, or of all bytes.
fingerprint() {
  local file
  for file in "$@"; do
    stat -L -c %s "$file"
    if [ "${BANYAN_PREFLIGHT:-}" = full ]; then cat "$file"; else head -c 1048576 "$file"; tail -c 1048576 "$file"; fi
  done | sha256sum | cut -c 1-16
}

# adapters: how many RDMA adapters UCX can use here; without its tool, how many ports are up.
adapters() {
  if command -v ucx_info >/dev/null; then
    timeout 20 ucx_info -d 2>/dev/null |
      awk '$2 == "Transport:" { rdma = $3 ~ /^(rc|dc|ud)/ } $2 == "Device:" && rdma { sub(/:.*/, "", $3); print $3 }' | sort -u | wc -l
  else
    cat "${SYS_INFINIBAND:-/sys/class/infiniband}"/*/ports/*/state 2>/dev/null | grep -c ACTIVE
  fi
}

# gpus WANTED: what is wrong with them, if anything.
gpus() {
  local there
  [ "$1" -gt 0 ] || return 0
  command -v nvidia-smi >/dev/null || { echo "has no nvidia-smi to look for its $1 GPUs"; return; }
  there=$(timeout 30 nvidia-smi -L 2>/dev/null | grep -c '^GPU ')
  [ "$there" -ge "$1" ] || echo "has $there GPUs that answer instead of $1"
}

# new_file FILE: makes it, empty; says why it cannot.
new_file() {
  local said
  said=$( (LC_ALL=C; : >"$1") 2>&1) && return
  echo "${said##*: }"
  return 1
}

# own_name NODES: the one of NODES ("n1,10.0.0.2", or - for those of Slurm) that this node was asked under.
own_name() {
  local name own=${SLURMD_NODENAME:-$(hostname)}
  if [ "$1" != - ]; then
    for name in "$own" $({ hostname -s; timeout 5 hostname -f; hostname -I; } 2>/dev/null) localhost; do
      if [[ ,$1, == *",$name,"* ]]; then own=$name; break; fi
    done
  fi
  echo "$own"
}

# node_check RUN NONCE NODES DATA...: one line "node NAME TIME FINGERPRINT ADAPTERS [PROBLEM]"; RUN may be empty.
node_check() {
  local run=$1 nonce=$2 name file problem='' print=none free said
  name=$(own_name "$3")
  shift 3
  if [ -n "$run" ]; then
    [ -e "$run/$nonce" ] || problem="does not see the run directory $run that others see"
    said=$(new_file "$run/$nonce.$(hostname)") || problem="cannot write into $run${said:+: $said}"
    rm -f "$run/$nonce.$(hostname)"
  fi
  "$banyan" --version >/dev/null 2>&1 || problem="cannot run $banyan"
  free=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')
  [ "${free:-0}" -ge 65536 ] || problem="has less than 64 MiB free in /dev/shm"
  for file in "$@"; do [ -r "$file" ] || problem="cannot read $file"; done
  [ -n "$problem" ] || problem=$(gpus "${BANYAN_GPUS:-${SLURM_GPUS_ON_NODE:-0}}")
  if [ -z "$problem" ] && [ -n "${BANYAN_NODE_CHECK:-}" ]; then
    said=$(timeout 30 bash -c "$BANYAN_NODE_CHECK" 2>&1) || problem="BANYAN_NODE_CHECK ended with $?: $(tail -n 1 <<<"$said")"
  fi
  if [ -z "$problem" ] && [ $# -gt 0 ]; then print=$(fingerprint "$@"); fi
  # One write, so that lines of nodes do not mix.
  echo "node $name $(date +%s) $print $(adapters) $problem"
}

# ------------------------------------------------------------------------------------------------------- on the batch node

# fails CODE WORDS...: ends this start before the program does.
fails() {
  code=$1
  shift
  say "preflight: $*"
  return 1
}

# checkpoint_kib ARGUMENT...: what one will take, by the newest or by the parameters (each with two moments, 4 bytes); nothing
# when neither tells.
checkpoint_kib() {
  local newest
  newest=$(ls -d "$run_dir"/ckpt/step-*.e* 2>/dev/null | grep -v -e '\.tmp$' -e '\.BAD$' | sort | tail -n 1)
  if [ -n "$newest" ]; then
    du -sk "$newest" | awk '{ printf "%.0f\n", $1 * 1.1 }'
  else
    # On one rank, which takes no schedule that needs several stages.
    timeout 30 "$banyan" plan "$@" --ranks 1 --gflops 1 --parallel.{tensor,pipeline,data}=1 --parallel.zero=0 \
      --parallel.sequence=false --parallel.schedule=1f1b --parallel.virtual_stages=0 --parallel.stages=auto 2>/dev/null |
      awk '$1 == "parameters" && $5 == "x" { printf "%.0f\n", $4 * 12 / 1024 * 1.1; exit }'
  fi
}

# left_over OPTION...: what du says of what a killed save or removal has left.
left_over() {
  find "$run_dir/ckpt" -mindepth 1 -maxdepth 1 \( -name '*.tmp' -o -name '.trash-*' \) -print0 2>/dev/null |
    du -sc "$@" --files0-from=- 2>/dev/null | awk 'END { print $1 + 0 }'
}

# no_room KIB: what is in the way of so much in the run directory; nothing when nothing is. Reserving it for a moment asks
# quotas, too, where the file system can reserve. What is left over counts as free: the program removes it first, and a
# start that is refused would leave it there for ever.
no_room() {
  local free file=$run_dir/.preflight.$$.room said='' left
  left=$(left_over -k)
  free=$(($(df -Pk "$run_dir" | awk 'NR == 2 { print $4 }') + left))
  if [ "$free" -lt "$1" ]; then echo "$run_dir has $free KiB free, a checkpoint needs $1"; return; fi
  if [ "$1" -gt "$left" ]; then said=$(LC_ALL=C fallocate -l "$(($1 - left))KiB" "$file" 2>&1); fi
  rm -f "$file"
  case $said in
    *"No space left"*) echo "$run_dir does not give the $1 KiB that a checkpoint needs" ;;
    *"quota exceeded"*) echo "the quota of $run_dir does not allow the $1 KiB that a checkpoint needs" ;;
  esac
  df -Pi "$run_dir" 2>/dev/null |
    awk -v dir="$run_dir" -v files=$((${SLURM_NTASKS:-1} + 32)) -v left="$(left_over --inodes)" \
      'NR == 2 && $2 > 0 && $4 + left < files {
         print dir " has room for " $4 + left " more files, a checkpoint needs " files }'
}

# try_groups COMMAND... <groups of nodes ("n1 n2"), one a line: "met GROUP" or "not GROUP" for each that a minute was enough to
# try COMMAND on, in any order. Many at the same time.
try_groups() {
  local group begun=$SECONDS
  while read -r group; do
    while [ "$(jobs -rp | wc -l)" -ge 64 ]; do wait -n; done
    [ $((SECONDS - begun)) -lt 60 ] || break
    if ranks_on "$group" "$@" >/dev/null 2>&1 </dev/null; then echo "met $group"; else echo "not $group"; fi &
  done
  wait
}

# judge_pairs <lines of try_groups for pairs of which each node has two: who met nobody, although somebody whom it was to meet
# has met another one.
judge_pairs() {
  awk '{ ++pairs[$2]; ++pairs[$3] }
       $1 == "met" { met[$2] = met[$3] = 1 }
       $1 == "not" { missed[$2] = missed[$2] " " $3; missed[$3] = missed[$3] " " $2 }
       END {
         for (node in missed) {
           n = split(missed[node], others, " "); well = 0
           for (i = 1; i <= n; ++i) well += others[i] in met
           if (pairs[node] == 2 && !(node in met) && well) print node
         } }' | sort
}

# ill_ranks ARGUMENT...: whose fault it is that the ranks do not meet, one "NODE: words" a line. Each node is tried alone, and with
# the one before and the one behind it. Nothing where that does not tell: most nodes do not start alone, which may be the
# launcher's fault, each meets one of these two, or two nodes miss each other.
ill_ranks() {
  local command=("$banyan" topo --job "$@" --topology.source=flat) alone ill list
  read -r -a list <<<"$nodes"
  # One alone does not tell what others would say (same_ill).
  if [ ${#list[@]} = 1 ]; then echo "$nodes: MPI does not start"; return; fi
  alone=$(printf '%s\n' "${list[@]}" | try_groups "${command[@]}")
  grep -q '^met ' <<<"$alone" || return
  ill=$(sed -n 's/^not //p' <<<"$alone")
  if [ -n "$ill" ]; then ill=$(try_groups "${command[@]}" <<<"$ill" | sed -n 's/^not //p' | sort); fi
  if [ "$(grep -c . <<<"$ill")" -gt $((${#list[@]} / 2)) ]; then return; fi
  if [ -n "$ill" ]; then sed 's/$/: MPI does not start, not even alone/' <<<"$ill"; return; fi
  [ ${#list[@]} -gt 2 ] || return
  paste -d ' ' <(printf '%s\n' "${list[@]}") <(printf '%s\n' "${list[@]:1}" "${list[0]}") | try_groups "${command[@]}" | judge_pairs |
    sed 's/$/: MPI starts, but finds no other node/'
}

# ranks_meet ARGUMENT...: one rank on every node starts and finds the others. MPI libraries crash while they connect, now and
# then: one more try. What is wrong with the command line or the configuration is not about nodes, and the code of this start.
ranks_meet() {
  local said problem try ill='' line
  said=$(outcome_file) || { fails 74 "the preflight needs a small file"; return; }
  for try in 1 2; do
    each_node ranks "$banyan" topo --job "$@" --topology.source=flat >"$said" 2>&1 </dev/null
    problem=$?
    if [ $problem = 0 ]; then rm -f "$said"; return; fi
  done
  grep 'error: ' "$said" >&2 || tail -n 5 "$said" >&2
  rm -f "$said"
  case $problem in
    64 | 78) fails $problem "the job is refused" ;;
    *)
      if [ -z "$told_to_end" ]; then ill=$(ill_ranks "$@"); fi
      while read -r line; do [ -z "$line" ] || say "preflight: $line"; done <<<"$ill"
      lost=$(sed -n 's/: .*//p' <<<"$ill" | paste -sd ,)
      fails 69 "ranks do not start on these nodes${lost:+; to blame: $lost}"
      ;;
  esac
}

# write_code PROBLEM: what it is worth that something cannot be written. Storage that is full or away comes back.
write_code() {
  case $1 in
    *"No space left"* | *"quota exceeded"* | *"Input/output error"* | *"tale file handle"* | *"timed out"* | \
      *"ransport endpoint"* | *"emote I/O error"* | *"is down"*) echo 74 ;;
    *) echo 78 ;;
  esac
}

# same_ill PROBLEMS: do all nodes say the same? Then it is not about nodes. One alone does not tell what others would say.
same_ill() {
  local line words bare first='' first_bare='' same=true same_bare=true
  [[ $1 != *"does not answer"* && $nodes == *" "* ]] && [ "$(wc -l <<<"$1")" = "$(wc -w <<<"$nodes")" ] || return 1
  while read -r line; do
    words=${line#*: }
    bare=${words//"${line%%: *}"/}
    : "${first:=$words}" "${first_bare:=$bare}"
    [ "$words" = "$first" ] || same=false
    [ "$bare" = "$first_bare" ] || same_bare=false
  done <<<"$1"
  # A path that all have may happen to contain the name of one.
  $same || $same_bare
}

# nodes_fit RUN NONCE DATA...: is every node fit? False with code and lost set otherwise. Without RUN no directory is asked about.
nodes_fit() {
  local before answers problems asked=- line silent many
  # Slurm tells each node its name; a list of thousands would be long for an argument.
  if [ "$launcher" != srun ]; then asked=${nodes// /,}; fi
  before=$(date +%s)
  answers=$(outcome_file) || { fails 74 "the preflight needs a small file"; return; }
  each_node shells bash "$home/scripts/slurm/lib.sh" node-check "$1" "$2" "$asked" "${@:3}" >"$answers"
  problems=$(judge_nodes "$nodes" "$before" "$(date +%s)" <"$answers")
  rm -f "$answers"
  if [ -z "$problems" ]; then return; fi
  while read -r line; do say "preflight: $line"; done <<<"$problems"
  if same_ill "$problems"; then fails "$(write_code "$(grep -o 'cannot write into .*' <<<"$problems")")" "no node is fit"; return; fi
  # The node of this script is mostly one of them, and may be the only one that its launcher reaches: the launcher is ill.
  silent=$(grep -c ': does not answer$' <<<"$problems") many=$(wc -w <<<"$nodes")
  if [ "$many" -gt 1 ] && [ "$silent" = "$many" ]; then fails 69 "no node answers"; return; fi
  if [ "$many" -gt 2 ] && [ "$silent" -gt $((many / 2)) ]; then fails 69 "most nodes do not answer"; return; fi
  # Storage that is full is not about the nodes that came too late.
  problems=$(grep -v ': cannot write into .*\(No space left\|quota exceeded\)' <<<"$problems") ||
    { fails 74 "the run directory $1 has no room for all nodes"; return; }
  lost=$(cut -d : -f 1 <<<"$problems" | paste -sd ,)
  fails 69 "not all nodes are fit: $lost"
}

# preflight ARGUMENT...: what would waste the allocation. False with code (and lost) set otherwise.
preflight() {
  local train data files=() nonce=.preflight.$$ problems need fit
  command -v "$launcher" >/dev/null || { fails 78 "there is no $launcher"; return; }
  problems=$(LC_ALL=C mkdir -p "$run_dir" 2>&1) && problems=$(new_file "$run_dir/$nonce") ||
    { fails "$(write_code "$problems")" "cannot write into the run directory $run_dir: ${problems##*: }"; return; }
  train=$("$banyan" train "$@" --print-value=data.train) && data=$("$banyan" train "$@" --print-value=data.validation) ||
    { need=$?; rm -f "$run_dir/$nonce"; fails $need "the configuration is refused"; return; }
  if [ "${BANYAN_PREFLIGHT:-}" = off ]; then rm -f "$run_dir/$nonce"; return; fi
  mapfile -t files < <(data_files "$train,$data")

  need=$(checkpoint_kib "$@")
  if [ -n "$need" ]; then problems=$(no_room "$need" | head -n 1); fi
  if [ -n "${problems:-}" ]; then rm -f "$run_dir/$nonce"; fails 74 "$problems"; return; fi

  nodes_fit "$run_dir" "$nonce" "${files[@]}"
  fit=$?
  rm -f "$run_dir/$nonce"
  [ $fit = 0 ] && ranks_meet "$@"
}

# preflight_to_write ARGUMENT...: the same for `banyan generate`, which saves nothing and whose files rank 0 alone reads and
# writes: what nodes and ranks need.
preflight_to_write() {
  local argument before='' config=() options=()
  command -v "$launcher" >/dev/null || { fails 78 "there is no $launcher"; return; }
  "$banyan" generate --print-value=run.dir "$@" >/dev/null || { fails $? "the command line or the configuration is refused"; return; }
  if [ "${BANYAN_PREFLIGHT:-}" = off ]; then return; fi
  for argument in "$@"; do
    case $before in
      --prompt | --prompt-file | --jsonl | --out) before=''; continue ;;  # a value, whatever it looks like
    esac
    case $argument in
      --*.*=*) if [[ $argument =~ ^--[a-z_]+\.[a-z0-9_]+= ]]; then options+=("$argument"); fi ;;
      -*) ;;
      *) config+=("$argument") ;;
    esac
    before=$argument
  done
  nodes_fit '' - && ranks_meet "${config[@]}" "${options[@]}"
}
