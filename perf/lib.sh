# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154
# Shared by the scripts of this folder that train: a scratch directory with a small dataset, tokens.h5, and an empty
# configuration, config.ini, in it.  A script starts with:  banyan=$1  . "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/banyan-perf.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
export OMP_NUM_THREADS=1

awk 'BEGIN {
  srand(1)
  n = split("the river mesh tensor keeps small light under every stone while branches of old trees fall and new", list, " ")
  for (i = 1; i <= 40000; ++i) printf "%s%s", list[int(rand() * n) + 1], (i % 12) ? " " : ".\n"
}' > "$scratch/text.txt"
"$banyan" tokenize --vocab-size 400 --out "$scratch/tokens.h5" "$scratch/text.txt" > /dev/null 2>&1
echo "# all keys are on the command line" > "$scratch/config.ini"
