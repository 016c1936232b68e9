#!/bin/bash
# Fuzz every tests/fuzz/fuzz_*.c for SECONDS each (default 30), with address and undefined-behaviour checks.
#
#     tests/fuzz/run.sh [SECONDS [NAME...]]
#
# Needs clang with libFuzzer. New inputs go to build-fuzz/corpus, not to the corpora of the repository; an input that
# fails is left in build-fuzz and named.
cd "$(dirname "$0")/../.." || exit 1
seconds=${1:-30}
shift
if ! command -v clang >/dev/null; then
    echo "SKIP fuzzing: clang is not installed (apt-get install clang)"
    exit 0
fi
out=build-fuzz
mkdir -p $out/lib || exit 1
flags="-std=c11 -D_GNU_SOURCE -fopenmp -Isrc -Itests -O1 -g -fno-omit-frame-pointer"
flags="$flags -fsanitize=address,undefined -fno-sanitize-recover=all"
echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return d && n > 1e9; }' >$out/try.c
if ! clang -fsanitize=fuzzer $out/try.c -o $out/try 2>/dev/null; then
    echo "SKIP fuzzing: this clang has no libFuzzer (apt-get install libclang-rt-14-dev or the like)"
    exit 0
fi

# The parsers and what they stand on, once; of the numbers' side only what loading weights needs.
sources=$(ls src/base/*.c src/text/*.c src/data/*.c src/model/{config,params,safetensors,weights}.c \
    src/compute/{ops,rows*}.c)
isa_flags() {
    case $1 in
    *_avx2.c) echo -mavx2 -mfma -mf16c ;;
    *_avx512.c) echo -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma ;;
    esac
}
objects=
for c in $sources; do
    o=$out/lib/$(echo "$c" | tr / _).o
    objects="$objects $o"
    if [ ! "$o" -nt "$c" ] || [ -n "$(find src -name '*.h' -newer "$o" -print -quit)" ]; then
        # shellcheck disable=SC2086
        clang $flags $(isa_flags "$c") -fsanitize=fuzzer-no-link -c -o "$o" "$c" || exit 1
    fi
done

failed=
for target in ${*:-$(ls tests/fuzz/fuzz_*.c | sed 's/.*fuzz_\(.*\)\.c/\1/')}; do
    # shellcheck disable=SC2086
    clang $flags -fsanitize=fuzzer -o $out/fuzz_$target tests/fuzz/fuzz_$target.c $objects \
        -ljansson -lzstd -lz -lpcre2-8 -lutf8proc -lsnappy -llz4 -lbrotlidec -lm -lpthread || exit 1
    mkdir -p $out/corpus/$target
    echo "fuzz $target for $seconds s"
    if $out/fuzz_$target -max_total_time="$seconds" -timeout=20 -rss_limit_mb=6000 -malloc_limit_mb=5000 \
        -print_final_stats=1 -artifact_prefix=$out/$target- $out/corpus/$target tests/fuzz/corpus/$target \
        >$out/$target.log 2>&1; then
        grep -E 'number_of_executed_units|new_units_added' $out/$target.log | sed 's/^stat::/  /'
    else
        tail -40 $out/$target.log
        failed="$failed $target"
    fi
done
[ -z "$failed" ] || { echo "fuzzing found failures:$failed"; exit 1; }
