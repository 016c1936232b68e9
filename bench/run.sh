#!/bin/sh
# What the engine and the kernels do on this machine: bench/run.sh BUILD_FOLDER. choose, decode and schedule answer one question each; the
# comparing scripts (compare_*.py) need PyPI packages. All say so in their heads. Log what you learn in bench/SPEED.md.
set -eu
export GOMP_SPINCOUNT=1000 # as src/cmd/main.c does, and why
for program in engine kernels; do
    [ -x "$1/bench/$program" ] || continue
    echo "== $program"
    "$1/bench/$program"
done
