#!/bin/sh
# Completes the installed root folder "$1": what only the packages' own files or programs can give. Everything that is
# plain data is in files/ instead, so that changing it does not install Debian again.
set -eu
root=$1

# People and processes of the pod. The image has no other accounts worth entering.
echo 'agent:x:1000:1000:Agent:/home/agent:/bin/bash' >>"$root/etc/passwd"
echo 'runner:x:1001:1000:Runner:/:/usr/sbin/nologin' >>"$root/etc/passwd"
echo 'agent:x:1000:' >>"$root/etc/group"

# GTK theme: Arc-Dark in our colours. Its style sheet is compiled from fixed colours, so each is replaced.
arc=/usr/share/themes/Arc-Dark/gtk-3.0
own=/usr/share/themes/A8s/gtk-3.0
mkdir -p "$root$own"
cp "$root$arc/gtk.gresource" "$root$own/"
chroot "$root" gresource extract "$arc/gtk.gresource" /org/gnome/arc-theme/gtk-main-dark.css >"$root/tmp/arc.css"
cat >"$root/tmp/recolour.py" <<'PYTHON'
"""Arc's greys become navy, its blue our accent. Transparency and everything colourful stay."""
import re
import sys

NAMED = {
    (0x40, 0x45, 0x52): (0x16, 0x1A, 0x2E),  # where people write: darker than what surrounds it
    (0x2F, 0x34, 0x3F): (0x14, 0x18, 0x30),  # headers: as window titles
    (0x2B, 0x2E, 0x39): (0x0D, 0x11, 0x22),  # borders
    (0x52, 0x94, 0xE2): (0x5A, 0x78, 0xF5),  # accent
    (0xD3, 0xDA, 0xE3): (0xDB, 0xE1, 0xF2),  # text
}


def recolour(red, green, blue):
    known = NAMED.get((red, green, blue))
    if known:
        return known
    grey = max(red, green, blue) < 120 and 0 <= blue - red < 40
    return (red * 52 // 100, green * 57 // 100, blue * 75 // 100) if grey else (red, green, blue)


def hexadecimal(match):
    return "#%02x%02x%02x" % recolour(*bytes.fromhex(match[1]))


def functional(match):
    return match[1] + "(%d, %d, %d" % recolour(*map(int, match.group(2, 3, 4)))


css = sys.stdin.read().replace('url("assets/', 'url("resource:///org/gnome/arc-theme/assets/')
css = re.sub(r"#([0-9a-fA-F]{6})\b", hexadecimal, css)
sys.stdout.write(re.sub(r"(rgba?)\((\d+), (\d+), (\d+)", functional, css))
PYTHON
chroot "$root" python3 /tmp/recolour.py <"$root/tmp/arc.css" >"$root$own/gtk.css"
rm "$root/tmp/arc.css" "$root/tmp/recolour.py"
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

# Every program that writes text reads this; made anew in each new home it costs the first of them a third of a second. It is
# valid for the time of the folders, which all are as old as the image says.
age=${SOURCE_DATE_EPOCH:-$(date +%s)}
find "$root/usr/share/fonts" "$root/usr/local/share/fonts" -type d -exec touch -d "@$age" {} +
SOURCE_DATE_EPOCH=$age chroot "$root" fc-cache --system-only --force
