#!/bin/bash
# Installs the Debian packages that building (and with --test, testing) needs and that are missing, naming each.
set -euo pipefail
cd "$(dirname "$0")/../.."

packages=(libssl-dev libhiredis-dev libsystemd-dev libunbound-dev libsqlite3-dev libzstd-dev redis-server)
# From libcurl on: what the programs that peers.sh unpacks are linked with.
[ "${1:-}" = --test ] && packages+=(systemd nsd bind9-dnsutils python3-venv openssl swaks libnet-ssleay-perl msmtp libcurl4 libdb5.3 libevent-2.1-7
  libgnutls-dane0 libicu72 libidn12
  libnsl2 libpam0g libpcre2-8-0 libsasl2-2 libxml2)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing Debian packages: ${missing[*]}"
  sudo=""
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "not root and no sudo: install them by hand and call again" >&2; exit 1; }
    sudo=sudo
  fi
  $sudo apt-get -o DPkg::Lock::Timeout=400 update -qq
  # The services stay off: this project starts its own servers.
  $sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -o DPkg::Lock::Timeout=400 install -y -qq --no-install-recommends \
    "${missing[@]}" >/tmp/owlat-setup.$$.log 2>&1 || { tail -20 /tmp/owlat-setup.$$.log >&2; exit 1; }
  rm -f /tmp/owlat-setup.$$.log
fi
command -v swift >/dev/null || { echo "the Swift 6.3 toolchain is not on PATH" >&2; exit 1; }

if [ "${1:-}" = --test ] && ! .build-venv/bin/python -c 'import dkim, nacl, standardwebhooks' 2>/dev/null; then
  echo "installing Python packages into .build-venv: dkimpy pynacl standardwebhooks"
  python3 -m venv .build-venv
  .build-venv/bin/pip install -q --disable-pip-version-check dkimpy==1.1.8 pynacl==1.5.0 standardwebhooks==1.0.0 dnspython==2.7.0
fi

if [ "${1:-}" = --test ]; then deploy/dev/peers.sh; fi
