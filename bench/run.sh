#!/bin/sh
# Every bench that needs nothing but the build: bench/run.sh BUILD_FOLDER. The comparing scripts (compare_*.py) need PyPI packages
# and say so in their heads. Log what you learn in bench/SPEED.md.
set -eu
export GOMP_SPINCOUNT=1000 # as src/cmd/main.c does, and why
for program in engine kernels; do
    [ -x "$1/bench/$program" ] || continue
    echo "== $program"
    "$1/bench/$program"
done
