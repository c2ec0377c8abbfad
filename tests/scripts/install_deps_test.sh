#!/usr/bin/env bash
# scripts/install-deps.sh with a made-up dpkg and apt: quiet when all is there, exact words without root, one install.
set -uo pipefail
script=$(cd "$(dirname "$0")/../.." && pwd)/scripts/install-deps.sh
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/bin"
export PATH=$dir/bin:$PATH
# MISSING lists the packages that are not installed; APT collects the calls of apt-get.
cat >"$dir/bin/dpkg-query" <<'END'
#!/bin/bash
case " $MISSING " in *" ${*: -1} "*) exit 1 ;; esac
printf installed
END
printf '#!/bin/sh\necho "$USER_ID"\n' >"$dir/bin/id"
printf '#!/bin/sh\n[ -e "$APT.updated" ] || [ -z "$UNKNOWN" ]\n' >"$dir/bin/apt-cache"
cat >"$dir/bin/apt-get" <<'END'
#!/bin/bash
echo "$*" >>"$APT"
case "$*" in *update*) touch "$APT.updated" ;; esac
END
chmod +x "$dir"/bin/*
export APT=$dir/apt MISSING='' USER_ID=0 UNKNOWN=''

failures=0
expect() {  # expect WHAT GOT WANTED
  if [ "$2" = "$3" ]; then return; fi
  printf 'FAILED: %s\n  got:    %s\n  wanted: %s\n' "$1" "$2" "$3"
  failures=$((failures + 1))
}

expect "quiet when nothing is missing" "$("$script" 2>&1; echo $?)" 0
expect "no apt when nothing is missing" "$(cat "$APT" 2>/dev/null)" ""
MISSING="cmake jargon-text" USER_ID=1000
expect "without root the exact command" "$("$script" 2>/dev/null; echo $?)" \
  "  apt-get install --no-install-recommends cmake jargon-text
1"
expect "a group alone" "$("$script" text 2>/dev/null)" "  apt-get install --no-install-recommends jargon-text"
USER_ID=0
expect "says what it installs" "$("$script" build)" "Installing 1 Debian packages: cmake
Installed."
expect "no update when the index knows it" "$(cat "$APT")" \
  "-q -o DPkg::Lock::Timeout=600 install -y --no-install-recommends cmake"
rm -f "$APT"
UNKNOWN=yes
"$script" build >/dev/null
expect "update when it does not" "$(cut -d' ' -f4 "$APT" | tr '\n' ' ')" "update install "
expect "a wrong group" "$("$script" nonsense >/dev/null 2>&1; echo $?)" 64
expect "the list is one package a line" "$("$script" --list text)" jargon-text

# A name that only other packages provide is never installed itself: it would be asked for again at every call.
export PATH=${PATH#"$dir/bin:"}
if command -v dpkg-query >/dev/null; then
  provided=$(dpkg-query -W -f='${db:Status-Status},${Provides}\n' | sed -n 's/^installed,//p' | tr ', ' '\n\n')
  virtual=$(for name in $("$script" --list build text test sanitize); do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || grep -xF "$name" <<<"$provided"
  done | sort -u)
  expect "no name on the list is a virtual package" "$virtual" ""
fi
[ $failures = 0 ] && echo "all passed"
exit $((failures > 0))
