#!/bin/sh
# Runs the desktop of an unpacked image under the conditions of its pod (read-only root, no privilege, user 1000, the pod's
# writable folders) and writes a screenshot: smoke.sh ROOT OUT.png. Needs root; leaves nothing behind but the picture.
set -eu
if [ "${1:-}" != --inside ]; then
  here=$(cd "$(dirname "$0")" && pwd)
  exec unshare --mount --pid --ipc --net --uts --fork --kill-child --mount-proc "$here/smoke.sh" --inside "$here" "$1" "$2"
fi
here=$2 root=$3 out=$4
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount --rbind /dev "$root/dev"
mount --bind /proc "$root/proc"
for folder in /tmp /home/agent /run/user-1000 /run/a8s/desk /dev/shm; do
  mount -t tmpfs -o mode=0700,uid=1000,gid=1000 tmpfs "$root$folder"
done
cp "$here/smoke.py" "$root/tmp/smoke.py"
chmod 0755 "$root/tmp/smoke.py"
status=0
env -i PATH=/usr/sbin:/usr/bin:/bin HOME=/home/agent LANG=C.UTF-8 XDG_RUNTIME_DIR=/run/user-1000 NO_AT_BRIDGE=1 \
  DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user-1000/bus XCURSOR_THEME=Adwaita XDG_CURRENT_DESKTOP=XFCE \
  setpriv --no-new-privs \
  chroot --userspec=1000:1000 --groups=1000 "$root" python3 /tmp/smoke.py /tmp/smoke.png || status=$?
if [ "$status" = 0 ]; then
  cp "$root/tmp/smoke.png" "$out"
else
  tail -n 40 "$root/tmp/smoke.log" >&2 || true
fi
exit "$status"
