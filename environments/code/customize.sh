#!/bin/sh
# Adds what no Debian package of this release gives to the installed root folder "$1": npm, from the registry that the
# machine's own npm uses.
set -eu
npm install --global --prefix "$1/usr/local" --ignore-scripts --no-audit --no-fund --loglevel=error npm@10.9.4
# Node's own packages bring an older one on some machines; there shall be one.
rm -rf "$1/usr/lib/node_modules" "$1/usr/bin/npm" "$1/usr/bin/npx" "$1/usr/bin/corepack"
