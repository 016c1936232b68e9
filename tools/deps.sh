#!/bin/sh
# Install the packages of packages.txt that are missing. Says what it does; does nothing when all are there.
#     tools/deps.sh [--name]
# --name: only name, in one line, those that the program itself needs.
set -eu
cd "$(dirname "$0")/.."
wanted=$(sed 's/#.*//' packages.txt)
[ "${1-}" != --name ] || wanted=$(sed -n '/^# tests/q; s/#.*//; p' packages.txt)
if ! command -v dpkg-query >/dev/null; then
    echo "deps: not a Debian system; install the equivalents of packages.txt by hand" >&2
    exit 0
fi
missing=
for p in $wanted; do
    dpkg-query -W -f '${Status}\n' "$p" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
if [ "${1-}" = --name ]; then
    echo "deps: packages that are not installed:$missing; 'make deps' installs them" >&2
    exit 0
fi
sudo=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "deps: missing packages:$missing; run as root: apt-get install$missing" >&2; exit 2; }
    sudo=sudo
fi
apt() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 "$@" >/dev/null; }
echo "deps: installing$missing"
# shellcheck disable=SC2086
apt install -y --no-install-recommends $missing 2>/dev/null || {
    apt update
    apt install -y --no-install-recommends $missing
}
