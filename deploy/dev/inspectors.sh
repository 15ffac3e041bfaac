#!/bin/bash
# Unpacks Debian's rspamd, spamd and clamd with what they need into a folder of their own, for the tests that ask the real
# programs; nothing is installed or started on this host. Signatures, lists and rules that change by the day are not fetched: the
# tests bring their own. Call: inspectors.sh [FOLDER]; what is there already is left alone.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/download.sh"
folder=${1:-"$here/../../.build-peers/inspectors"}
# Of an earlier list of packages: fetched anew.
list=1
[ "$(cat "$folder/complete" 2>/dev/null)" = $list ] && exit 0
packages=(rspamd libhyperscan5 libluajit-5.1-common libluajit-5.1-2 libglib2.0-0 libsodium23 libunwind8
  spamassassin spamd libhtml-tagset-perl libregexp-ipv6-perl
  liburi-perl libhtml-parser-perl libsocket6-perl libsys-hostname-long-perl libdigest-hmac-perl libnet-dns-perl libnetaddr-ip-perl
  libtimedate-perl libhttp-date-perl libmail-dkim-perl libmailtools-perl libclone-perl libio-string-perl
  clamav-daemon libclamav12 libmspack0 libjson-c5)
echo "fetching Debian packages (unpacked into $(basename "$folder"), not installed): ${packages[*]}"
rm -rf "$folder"
mkdir -p "$folder/debs" "$folder/root"
cd "$folder"
(cd debs && download "${packages[@]}")
for file in debs/*.deb; do dpkg-deb -x "$file" root; done
rm -rf debs root/usr/share/doc root/usr/share/man root/usr/share/locale root/usr/share/javascript
# A library that the host lacks too is named here, not by a test that cannot start its program.
libraries=$PWD/root/usr/lib/rspamd:$(echo "$PWD"/root/usr/lib/*-linux-gnu):$(echo "$PWD"/root/lib/*-linux-gnu)
for program in root/usr/bin/rspamd root/usr/sbin/clamd; do
  if LD_LIBRARY_PATH=$libraries ldd "$program" | grep 'not found'; then
    echo "$program lacks the libraries above: install them" >&2
    exit 1
  fi
done
echo $list >complete
