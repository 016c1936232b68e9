#!/bin/sh
# Install the packages of packages.txt that are missing. Says what it does; does nothing when all are there.
#     tools/deps.sh [--name] [--mpi] [--slurm] [--paper]
# --name: only name, in one line, those that the program itself needs. --mpi: also those of many processes. --slurm: also a Slurm for its test. --paper: also the paper's text.
set -eu
cd "$(dirname "$0")/.."
name= mpi= slurm= paper=
for word; do
    case $word in --name) name=1 ;; --mpi) mpi=1 ;; --slurm) slurm=1 ;; --paper) paper=1 ;; *) echo "deps: unknown option $word" >&2; exit 2 ;; esac
done
section() { sed -n "/^# $1/,/^\$/{s/#.*//;p;}" packages.txt; } # from a heading to the next empty line
wanted=$(section 'The program')
[ "$name" ] || wanted="$wanted $(section Tests)"
[ -z "$mpi" ] || wanted="$wanted $(section 'Many processes')"
[ -z "$slurm" ] || wanted="$wanted $(section Slurm)"
[ -z "$paper" ] || wanted="$wanted $(section 'The paper')"
if ! command -v dpkg-query >/dev/null; then
    echo "deps: not a Debian system; install the equivalents of packages.txt by hand" >&2
    exit 0
fi
missing=
for p in $wanted; do
    dpkg-query -W -f '${Status}\n' "$p" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
if [ "$name" ]; then
    echo "deps: packages that are not installed:$missing; 'make deps${mpi:+-mpi}' installs them" >&2
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
