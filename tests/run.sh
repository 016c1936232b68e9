#!/bin/bash
# Run every test program below BUILD/tests and every tests/cli/test_*.sh and tests/mpi/test_*.sh, these with the program of
# BUILD-mpi; show one line each, and the output of failures.
#
#     tests/run.sh BUILD [--long]
#
# Programs named *_long run only with --long. Of a failure's output the last 100 lines are shown. A line that starts
# with SKIP is something a program could not test here: it is shown and counted. The last line is
# "N passed, M failed", with ", K skipped" when K > 0.
cd "$(dirname "$0")/.." || exit 1
build=$1 long=$2
export GOMP_SPINCOUNT=1000 # as src/cmd/main.c does, and why
export LSAN_OPTIONS=suppressions=$PWD/tests/lsan.txt:print_suppressions=0 # leaks that are not ours (sanitized builds)
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}exitcode=99 # its own 1 says of a training that it diverged
if [ ! -x "$build/mdm" ] || [ $# -gt 2 ] || [ "${long:---long}" != --long ]; then
    echo "usage: tests/run.sh BUILD [--long] (BUILD: a folder that 'make tests' has filled)" >&2
    exit 1
fi

work=$(mktemp -d) || exit 1
memory=$(mktemp -d -p /dev/shm 2>/dev/null) && export MDM_TEST_MEMORY=$memory # tests/unit/scratch.h
mkdir "$work/tmp" && : >"$work/results" || exit 1
export TMPDIR=$work/tmp # what an interrupted test leaves goes with it
stop() { # those under way
    jobs -p | xargs -r kill 2>/dev/null
    wait
}
trap 'stop; rm -rf "$work" "$memory"' EXIT
trap 'exit 130' INT TERM
limit=300 # seconds; a program that hangs is a failure
[[ $build != *san* ]] || limit=900 # sanitizers: several times as long
[ -z "$long" ] || limit=3600
data=${MDM_TEST_DATA:-../shared}
if [ ! -d "$data" ]; then
    echo skipped >>"$work/results"
    echo "  *** no folder $data (MDM_TEST_DATA names another): nothing is tried on published models, tokenizers and corpora"
fi
shopt -s nullglob

run() { # NAME COMMAND...
    local name=$1 log=$work/log.$BASHPID status took start=$EPOCHREALTIME
    shift
    timeout -k 10 "$limit" "$@" >"$log" 2>&1 </dev/null &
    wait $!
    status=$?
    [ $status -ne 124 ] || echo "ended after $limit s" >>"$log"
    took=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.2f", b - a }')
    { # one write, since another stream prints too
        if [ $status -eq 0 ]; then
            echo passed >>"$work/results"
            printf 'ok    %8s s  %s\n' "$took" "$name"
        else
            echo "failed $name" >>"$work/results"
            printf 'FAIL  %8s s  %s (status %d)\n' "$took" "$name" $status
            tail -n 100 "$log" | sed 's/^/    | /'
        fi
        grep -a '^SKIP' "$log" | while IFS= read -r line; do
            echo skipped >>"$work/results"
            printf '  *** %s: %s\n' "$name" "$line"
        done
    } >"$log.told"
    cat "$log.told"
}

wanted() { # NAME: is it to run now?
    [[ $long || $1 != *_long ]]
}

# Tests of several ranks mostly wait, so they run beside the others.
{
    trap stop EXIT
    trap 'exit 143' TERM
    for script in tests/mpi/test_*.sh; do
        wanted "${script%.sh}" && run "$script" bash "$script" "$build-mpi/mdm"
    done
    : >"$work/whole"
} &

for program in "$build"/tests/*/test_*; do
    # Only programs whose source is there: a build folder may hold old ones.
    source=tests/${program#"$build"/tests/}.c
    [[ -x $program && -f $program && -f $source ]] && wanted "$program" && run "${program#"$build"/}" "$program"
done
for script in tests/cli/test_*.sh; do
    wanted "${script%.sh}" && run "$script" bash "$script" "$build/mdm"
done
wait
[ -e "$work/whole" ] || echo "failed the tests of several ranks: they did not end" >>"$work/results"

count() { # RESULT
    grep -c "^$1" "$work/results"
}
if [ "$(count failed)" -gt 0 ]; then
    echo "failed:$(sed -n 's/^failed//p' "$work/results" | tr -d '\n')"
fi
skipped=$(count skipped)
echo "$(count passed) passed, $(count failed) failed$([ "$skipped" -eq 0 ] || echo ", $skipped skipped")"
[ "$(count failed)" -eq 0 ] && [ "$(count passed)" -gt 0 ]
