#!/bin/sh
# Install the packages of packages.txt that are missing. Says what it does; does nothing when all are there.
set -eu
cd "$(dirname "$0")/.."
command -v dpkg-query >/dev/null || { echo "deps: not a Debian system; install the equivalents of packages.txt by hand" >&2; exit 0; }
missing=
for p in $(sed 's/#.*//' packages.txt); do
    dpkg-query -W -f '${Status}\n' "$p" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
sudo=
[ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo=sudo || { echo "deps: missing packages:$missing; run as root: apt-get install$missing" >&2; exit 2; }; }
echo "deps: installing$missing"
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 install -y --no-install-recommends $missing >/dev/null 2>&1 || {
    $sudo apt-get -qq -o DPkg::Lock::Timeout=120 update
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 install -y --no-install-recommends $missing >/dev/null
}
