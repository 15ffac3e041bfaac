#!/bin/bash
# Unpacks Debian's rspamd and spamd with what they need into a folder of their own, for the test that asks the real programs;
# nothing is installed or started on this host. Call: inspectors.sh [FOLDER]; what is there already is left alone.
# Then: INSPECTOR_PEERS=FOLDER swift test --filter InspectorPeerTests
set -euo pipefail
folder=${1:-"$(dirname "$0")/../../.build-inspectors"}
mkdir -p "$folder"
cd "$folder"
[ -e complete ] && exit 0
packages=(rspamd libhyperscan5 libluajit-5.1-common libluajit-5.1-2 spamassassin spamd libhtml-tagset-perl libregexp-ipv6-perl
  liburi-perl libhtml-parser-perl libsocket6-perl libsys-hostname-long-perl libdigest-hmac-perl libnet-dns-perl libnetaddr-ip-perl
  libtimedate-perl libhttp-date-perl libmail-dkim-perl libmailtools-perl libclone-perl libio-string-perl)
echo "fetching Debian packages (unpacked into $(basename "$PWD"), not installed): ${packages[*]}"
rm -rf debs root
mkdir -p debs root
(cd debs && apt-get download -qq "${packages[@]}" 2>log || { cat log >&2; exit 1; })
for file in debs/*.deb; do dpkg-deb -x "$file" root; done
rm -rf debs
touch complete
