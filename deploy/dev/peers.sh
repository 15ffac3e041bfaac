#!/bin/bash
# Unpacks Debian's Postfix, Exim and OpenSMTPD into folders of their own, each a small root with the libraries it needs, for
# the tests to chroot into: the three packages exclude each other, and nothing of them is installed or started on this host.
# Beside them Prometheus's promtool and, for tests to ask, rspamd, spamd and clamd (inspectors.sh). Call: peers.sh [FOLDER]; what is
# there already is left alone.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/download.sh"
peers=${1:-"$here/../../.build-peers"}
mkdir -p "$peers"
cd "$peers"

# Copies what a dynamic program needs into the root, at the paths where its loader looks.
add_libraries() {
  local root=$1
  find "$root" -type f -print0 | while IFS= read -r -d '' file; do
    [ "$(head -c 4 "$file" | tr -d '\0')" = $'\x7fELF' ] || continue
    LD_LIBRARY_PATH="$root/usr/lib/postfix" ldd "$file" 2>/dev/null || true
  done | grep -o '/[^ ]*' | sort -u | while read -r library; do
    case "$library" in "$root"/*) continue ;; esac
    mkdir -p "$root$(dirname "$library")"
    cp -Lu "$library" "$root$library"
  done
}

# unpack NAME PACKAGE…
unpack() {
  local name=$1
  shift
  [ -e "$name/complete" ] && return
  echo "fetching Debian packages (unpacked into $(basename "$PWD")/$name, not installed): $*"
  rm -rf "$name"
  mkdir -p "$name/debs" "$name/root/bin"
  (cd "$name/debs" && download "$@")
  for file in "$name"/debs/*.deb; do dpkg-deb -x "$file" "$name/root"; done
  # Mail is handed to programs by a shell; the rest of a system is not wanted.
  cp -L /bin/sh "$name/root/bin/sh"
  rm -rf "$name"/debs "$name"/root/usr/share "$name"/root/lib/systemd "$name"/root/etc/*
  add_libraries "$PWD/$name/root"
  touch "$name/complete"
}

unpack postfix postfix
unpack exim exim4-daemon-light
unpack opensmtpd opensmtpd

if [ ! -e prometheus/complete ]; then
  echo "fetching Debian's prometheus (only its promtool is unpacked, to judge our metrics)"
  rm -rf prometheus
  mkdir -p prometheus/debs
  (cd prometheus/debs && download prometheus)
  dpkg-deb --fsys-tarfile prometheus/debs/*.deb | tar -x -C prometheus --strip-components=3 ./usr/bin/promtool
  rm -rf prometheus/debs
  touch prometheus/complete
fi

"$here/inspectors.sh" "$PWD/inspectors"
