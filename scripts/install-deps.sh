#!/usr/bin/env bash
# install-deps.sh [--list] [GROUP...]: installs the Debian packages that Banyan needs, and says which. Quiet when nothing
# is missing. Without root it installs nothing, prints what is missing and the command for it, and exits with 1.
#   build   compiler, CMake and libraries: what `cmake --preset release` needs
#   text    a public-domain English text for scripts/quickstart.sh
#   test    programs the tests compare with (PyTorch, h5py)
#   sanitize  clang, for scripts/sanitize.sh and tests/fuzz/fuzz.sh; only when it is named
# Without a GROUP all others.  --list prints the packages, one a line, and nothing else.
set -euo pipefail

# Each package with its reason.
build=(
  g++                            # compiler, C++20
  cmake                          # configures the build
  ninja-build                    # builds
  ccache                         # makes the second build quick
  pkg-config                     # finds the libraries
  libopenmpi-dev                 # MPI: starts the ranks
  openmpi-bin                    # mpirun
  libucx-dev                     # UCX: carries messages over RDMA, shared memory or TCP
  libhwloc-dev                   # what is inside a host: NUMA nodes, cores, GPUs, network adapters
  libyaml-cpp-dev                # topology.yaml of Slurm
  libhdf5-dev                    # checkpoints and datasets (the serial, thread-safe build)
  libdnnl-dev                    # matrix products (oneDNN)
  libboost-program-options-dev   # typing of configuration values
  libfmt-dev                     # formatting
  libspdlog-dev                  # log lines
  nlohmann-json3-dev             # JSON
  libpcre2-dev                   # the splitting expression of GPT-2's tokenizer
  libxxhash-dev                  # checksums
  libgtest-dev                   # unit tests
  librapidcheck-dev              # property tests: random cases, shrunk when they fail
)
text=(
  jargon-text                    # 1.7 MB of English
)
test=(
  python3-numpy                  # both below need it
  python3-torch                  # an independent implementation of the model
  python3-h5py                   # reads view.h5 as a user would
  hdf5-tools                     # h5dump on our files
  libmpich-dev                   # a second MPI library, against which the rank tests are built as well
  mpich                          # its mpiexec
  ucx-utils                      # ucx_perftest: the limit bench comm is held against
  iproute2                       # hosts and switches of the cluster in a box
  slurm-wlm                      # a batch system with that cluster: sbatch, srun, scontrol
  munge                          # who is who to Slurm
  ibsim-utils                    # an InfiniBand fabric of 1,024 hosts that exists in memory only
  opensm                         # routes it
  infiniband-diags               # ibnetdiscover, ibqueryerrors and dump_fts read it
  libsimgrid-dev                 # smpirun plays hundreds of ranks on a fat tree (scripts/simulate.sh); smpicxx for banyan-sim
  libboost-context-dev           # threads of GPU kernels as fibers, where the tests execute them on the CPU
)

sanitize=(
  clang                          # sanitizers and libFuzzer
  llvm                           # llvm-symbolizer: names and lines in what they report
  libomp-dev                     # an OpenMP that tells ThreadSanitizer which thread waits for which
)

list=false groups=()
for argument in "$@"; do
  case $argument in
    --list) list=true ;;
    build | text | test | sanitize) groups+=("$argument") ;;
    *) sed -n '2,9s/^# //p' "$0" >&2; exit 64 ;;
  esac
done
[ ${#groups[@]} -gt 0 ] || groups=(build text test)

packages=()
for group in "${groups[@]}"; do
  declare -n members=$group
  packages+=("${members[@]}")
done
if $list; then printf '%s\n' "${packages[@]}"; exit 0; fi

command -v dpkg-query >/dev/null || { echo "install-deps.sh knows Debian's packages only; needed are: ${packages[*]}" >&2; exit 1; }
missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
  echo "These packages are missing; ask root to run:" >&2
  echo "  apt-get install --no-install-recommends ${missing[*]}"
  exit 1
fi

echo "Installing ${#missing[@]} Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { apt-get -q -o DPkg::Lock::Timeout=600 "$@" >>"$log" 2>&1; }
install() { apt install -y --no-install-recommends "${missing[@]}"; }
# The index is refreshed only when it does not know a package or is out of date.
unknown=false
for package in "${missing[@]}"; do apt-cache show "$package" >/dev/null 2>&1 || unknown=true; done
if $unknown || ! install; then
  apt update && install || { cat "$log" >&2; echo "apt-get failed; its words are above" >&2; exit 1; }
fi
echo "Installed."
