#!/bin/bash
# systemd-namespace.sh STATE: boots a private systemd as PID 1 of namespaces of its own, with the product installed by `make
# install` from $BIN. Nothing of the host is touched: own mounts over /run, /etc, /usr/local and /var/lib, own journal, own
# control groups, own units. STATE holds config.yaml and dropins/UNIT.d/*.conf; the file `cgroup` is written there. Run from the
# repository's root; ends with its PID 1.
set -eu
STATE=$1
CG=/sys/fs/cgroup/unified
[ -d $CG ] || CG=/sys/fs/cgroup
mkdir -p "$CG/owlat-test.$$"
echo "$CG/owlat-test.$$" >"$STATE/cgroup"
echo $$ >"$CG/owlat-test.$$/cgroup.procs" # the new cgroup namespace is rooted there
exec unshare --mount --pid --ipc --uts --cgroup --fork --kill-child=SIGKILL --mount-proc -- /bin/bash -c '
set -e
STATE=$1
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/units /run/systemd/journald.conf.d /run/etc
cp -a /etc/. /run/etc/
mount --bind /run/etc /etc
for at in /usr/local /var/lib; do mount -t tmpfs -o mode=755 tmpfs $at; done
printf "[Journal]\nStorage=volatile\nRateLimitBurst=0\n" >/run/systemd/journald.conf.d/t.conf
if [ -d /var/log/journal ]; then mount -t tmpfs tmpfs /var/log/journal; fi
umount -R /sys/fs/cgroup 2>/dev/null || umount -lR /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
make --no-print-directory install BIN="$BIN" PREFIX=/usr/local >"$STATE/install.log" 2>&1
install -m 640 -g owlat-mta "$STATE/config.yaml" /etc/owlat-mta/config.yaml
cp -r "$STATE"/dropins/. /run/units/
for t in sysinit basic shutdown umount final multi-user sockets timers paths slices rescue emergency exit halt network network-online \
  nss-lookup local-fs; do
  case $t in shutdown|umount|final) rest="DefaultDependencies=no";; *) rest="";; esac
  printf "[Unit]\nDescription=%s\n%s\n" "$t" "$rest" >/run/units/$t.target
done
for u in systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket systemd-exit.service exit.target; do
  cp /lib/systemd/system/$u /run/units/
done
printf "[Unit]\nDescription=test boot\nDefaultDependencies=no\nWants=systemd-journald.service\n" >/run/units/boot.target
export container=owlat-test SYSTEMD_UNIT_PATH=/run/units:/run/systemd/system:/usr/local/lib/systemd/system
exec /lib/systemd/systemd --system --unit=boot.target --log-target=journal --log-level=info --show-status=no
' boot "$STATE"
