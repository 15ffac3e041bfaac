#!/bin/bash
# install.sh install|uninstall: puts the programs, the units and an example configuration into their places, or takes them
# away. DESTDIR= is put before every path, PREFIX= is /usr or /usr/local, BIN= is where the built programs are.
set -euo pipefail
cd "$(dirname "$0")/.."
action=${1:?install or uninstall}
DESTDIR=${DESTDIR:-} PREFIX=${PREFIX:-/usr} BIN=${BIN:-.build/release}
lib=$PREFIX/lib/owlat-mta units=$PREFIX/lib/systemd/system

say() { echo "  $*"; }
put() { # MODE FROM TO
  install -D -m "$1" "$2" "$DESTDIR$3"
  say "$3"
}

# The system's own changes are made only when this is the system itself, and root is at work.
is_live() { [ -z "$DESTDIR" ] && [ "$(id -u)" = 0 ]; }

if [ "$action" = install ]; then
  for program in supervisor ipworker; do
    [ -x "$BIN/$program" ] || { echo "$BIN/$program is not built: make build, or BIN=" >&2; exit 1; }
  done
  echo "installing Owlat MTA:"
  put 755 "$BIN/supervisor" "$lib/supervisor"
  put 755 "$BIN/ipworker" "$lib/ipworker"
  # Beside the programs they are found on hosts without a Swift toolchain.
  for library in $(ldd "$BIN/supervisor" "$BIN/ipworker" | awk '$3 ~ "/swift/linux/" { print $3 }' | sort -u); do
    put 644 "$library" "$lib/$(basename "$library")"
  done
  install -d "$DESTDIR$PREFIX/bin"
  ln -sf ../lib/owlat-mta/supervisor "$DESTDIR$PREFIX/bin/owlat-mta"
  say "$PREFIX/bin/owlat-mta -> ../lib/owlat-mta/supervisor"
  for unit in systemd/*.service systemd/*.socket; do
    name=$(basename "$unit")
    install -d "$DESTDIR$units"
    sed "s|/usr/bin/owlat-mta|$PREFIX/bin/owlat-mta|" "$unit" >"$DESTDIR$units/$name"
    chmod 644 "$DESTDIR$units/$name"
    say "$units/$name"
  done
  put 644 systemd/owlat-mta.sysusers.conf "$PREFIX/lib/sysusers.d/owlat-mta.conf"
  put 644 systemd/owlat-mta.tmpfiles.conf "$PREFIX/lib/tmpfiles.d/owlat-mta.conf"
  put 644 deploy/config.example.yaml /etc/owlat-mta/config.example.yaml
  if is_live; then
    if command -v systemd-sysusers >/dev/null; then
      systemd-sysusers "$PREFIX/lib/sysusers.d/owlat-mta.conf"
      say "user owlat-mta (systemd-sysusers)"
      systemd-tmpfiles --create "$PREFIX/lib/tmpfiles.d/owlat-mta.conf"
      say "directories in /etc and /var/lib (systemd-tmpfiles)"
    fi
    if [ -d /run/systemd/system ]; then
      systemctl daemon-reload
      say "systemctl daemon-reload"
    fi
  else
    say "left to do on the host: systemd-sysusers, systemd-tmpfiles --create, systemctl daemon-reload"
  fi
  cat <<END
next: copy /etc/owlat-mta/config.example.yaml to config.yaml (root:owlat-mta, mode 0640), edit it, then
  owlat-mta check-config && systemctl enable --now owlat-mta-redis owlat-mta
END
elif [ "$action" = uninstall ]; then
  echo "removing Owlat MTA:"
  if is_live && [ -d /run/systemd/system ]; then
    systemctl disable --now owlat-mta.service owlat-mta-redis.service $(cd systemd && ls ./*.socket | sed 's|^./||') 2>/dev/null || true
    say "units stopped and disabled"
  fi
  for unit in systemd/*.service systemd/*.socket; do
    rm -f "$DESTDIR$units/$(basename "$unit")"
    say "$units/$(basename "$unit")"
  done
  for path in "$lib" "$PREFIX/bin/owlat-mta" "$PREFIX/lib/sysusers.d/owlat-mta.conf" "$PREFIX/lib/tmpfiles.d/owlat-mta.conf" \
    /etc/owlat-mta/config.example.yaml; do
    rm -rf "$DESTDIR$path"
    say "$path"
  done
  if is_live && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
  echo "kept: /etc/owlat-mta, /var/lib/owlat-mta, /var/lib/owlat-mta-redis and the user owlat-mta"
else
  echo "install or uninstall" >&2
  exit 2
fi
