#!/bin/sh
# Completes the installed root folder "$1": what only the packages' own files or programs can give. Everything that is
# plain data is in files/ instead, so that changing it does not install Debian again.
set -eu
root=$1

# People and processes of the pod. The image has no other accounts worth entering.
echo 'agent:x:1000:1000:Agent:/home/agent:/bin/bash' >>"$root/etc/passwd"
echo 'runner:x:1001:1000:Runner:/:/usr/sbin/nologin' >>"$root/etc/passwd"
echo 'agent:x:1000:' >>"$root/etc/group"
# Some libraries refuse to work without one; nothing here relies on it being secret or unique.
printf 'a8s' | md5sum | cut -c1-32 >"$root/etc/machine-id"

# GTK theme: Arc-Dark in our colours. Its style sheet is compiled from fixed colours, so they are replaced one by one.
arc=/usr/share/themes/Arc-Dark/gtk-3.0
own=/usr/share/themes/A8s/gtk-3.0
mkdir -p "$root$own"
cp "$root$arc/gtk.gresource" "$root$own/"
chroot "$root" gresource extract "$arc/gtk.gresource" /org/gnome/arc-theme/gtk-main-dark.css | sed -E \
  -e 's#url\("assets/#url("resource:///org/gnome/arc-theme/assets/#g' \
  -e 's/#383c4a/#1e2338/gI; s/#404552/#161a2e/gI; s/#2f343f/#141830/gI; s/#353945/#1a1f35/gI' \
  -e 's/#2b2e39/#0d1122/gI; s/#21242b/#0b0e1c/gI; s/#3c4150/#20263d/gI; s/#444a58/#2a304b/gI' \
  -e 's/#505666/#343b5a/gI; s/#5d626e/#3d4465/gI; s/#262932/#0d1122/gI; s/#454c5c/#2a304b/gI' \
  -e 's/#323843/#171b30/gI; s/#363b48/#20263d/gI; s/#5294e2/#5a78f5/gI; s/#d3dae3/#dbe1f2/gI' \
  -e 's/rgba\(53, 57, 69,/rgba(26, 31, 53,/g; s/rgba\(42, 45, 55,/rgba(18, 22, 40,/g' \
  -e 's/rgba\(47, 52, 63,/rgba(20, 24, 48,/g; s/rgba\(32, 35, 43,/rgba(13, 16, 32,/g' \
  -e 's/rgba\(43, 46, 57,/rgba(13, 17, 34,/g; s/rgba\(38, 42, 51,/rgba(16, 20, 38,/g' \
  -e 's/rgba\(68, 74, 88,/rgba(42, 48, 75,/g; s/rgba\(64, 69, 82,/rgba(22, 26, 46,/g' \
  -e 's/rgba\(43, 46, 55,/rgba(15, 19, 36,/g; s/rgba\(35, 38, 46,/rgba(14, 17, 33,/g' \
  -e 's/rgba\(102, 109, 132,/rgba(86, 98, 150,/g; s/rgba\(95, 105, 127,/rgba(80, 92, 142,/g' \
  -e 's/rgba\(82, 148, 226,/rgba(90, 120, 245,/g' \
  >"$root$own/gtk.css"
printf '[Desktop Entry]\nType=X-GNOME-Metatheme\nName=A8s\n\n[X-GNOME-Metatheme]\nGtkTheme=A8s\n' \
  >"$root/usr/share/themes/A8s/index.theme"

# What a new home starts with.
for folder in Desktop Documents Downloads; do
  mkdir -p "$root/usr/share/a8s/skel/$folder"
done

# Not needed to run the desktop; perl-base, which package scripts use, stays.
rm -rf "$root"/usr/share/perl/5* "$root"/usr/lib/*-linux-gnu/perl/5* "$root"/usr/bin/perl5* \
  "$root"/usr/share/icons/elementary-xfce/*/128 "$root"/usr/share/X11/locale/*/Compose.gz \
  "$root"/usr/lib/python3*/test "$root"/usr/lib/python3*/idlelib "$root"/usr/lib/python3*/lib2to3 \
  "$root"/usr/share/themes/Arc "$root"/usr/share/themes/Arc-Dark "$root"/usr/share/themes/Arc-Darker \
  "$root"/usr/share/themes/Arc-Lighter "$root"/usr/share/backgrounds
find "$root/usr/share/themes" -mindepth 1 -maxdepth 1 ! -name A8s ! -name Default -exec rm -rf {} +
find "$root/var/log" -type f -exec truncate -s 0 {} +
rm -rf "$root"/var/cache/apt/* "$root"/var/cache/debconf/*-old "$root"/var/lib/apt/lists/*
