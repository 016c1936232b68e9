#!/bin/bash
# Fuzz every tests/fuzz/fuzz_*.c for SECONDS each (default 30), with address and undefined-behaviour checks.
#
#     tests/fuzz/run.sh [SECONDS [NAME...]]
#
# Needs clang with libFuzzer. New inputs go to build-fuzz-clang/corpus, not to the corpora of the repository; an input
# that fails is left in build-fuzz-clang and named.
cd "$(dirname "$0")/../.." || exit 1
seconds=${1:-30}
shift
out=build-fuzz-clang
mkdir -p $out || exit 1
if ! command -v clang >/dev/null; then
    echo "SKIP fuzzing: clang is not installed (apt-get install clang libclang-rt-dev libomp-dev)"
    exit 0
fi
echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return d && n > 1e9; }' >$out/try.c
if ! clang -fopenmp -fsanitize=fuzzer $out/try.c -o $out/try 2>/dev/null; then
    echo "SKIP fuzzing: this clang has no libFuzzer or no OpenMP (apt-get install libclang-rt-dev libomp-dev)"
    exit 0
fi
make --no-print-directory BUILD=fuzz CC=clang fuzzers || exit 1

failed=
for target in ${*:-$(ls tests/fuzz/fuzz_*.c | sed 's/.*fuzz_\(.*\)\.c/\1/')}; do
    mkdir -p "$out/corpus/$target"
    echo "fuzz $target for $seconds s"
    if "$out/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=6000 -malloc_limit_mb=5000 \
        -print_final_stats=1 -artifact_prefix="$out/$target-" "$out/corpus/$target" "tests/fuzz/corpus/$target" \
        >"$out/$target.log" 2>&1; then
        grep -E 'number_of_executed_units|new_units_added' "$out/$target.log" | sed 's/^stat::/  /'
    else
        tail -40 "$out/$target.log"
        failed="$failed $target"
    fi
done
[ -z "$failed" ] || { echo "fuzzing found failures:$failed"; exit 1; }
