#!/usr/bin/env bash
# scripts/quickstart.sh as a newcomer calls it: in a fresh clone, then once more.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
git clone -q "$root" "$dir/banyan"
cd "$dir/banyan"
scripts/quickstart.sh | tee "$dir/first"
grep -q 'exit code 75: saved and stopped' "$dir/first"
grep -q 'words written occur in the text' "$dir/first"

echo "--- the second call"
scripts/quickstart.sh | tee "$dir/second"
if grep -q '^Installing' "$dir/second"; then echo "FAILED: the second call installs again"; exit 1; fi
grep -q 'is finished' "$dir/second"

echo "--- another text, not UTF-8"
{ seq 1 60000 | sed 's/$/ bottles of beer on the wall,/'; printf 'caf\351\000\n'; } >"$dir/text"
status=0
scripts/quickstart.sh --text "$dir/text" >"$dir/third" 2>&1 || status=$?
cat "$dir/third"
[ $status = 0 ]
status=0
scripts/quickstart.sh --text "$dir/absent" >"$dir/fourth" 2>&1 || status=$?
[ $status = 65 ] && grep -q 'is no file with text' "$dir/fourth"
