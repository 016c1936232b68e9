#!/bin/bash
# Mutation test: put in each known bug of tests/mutants/*.txt, one at a time, into a copy of the tree, build, and run the
# tests that are named with it. Each must fail: a bug that its tests let pass is a hole in them, and is named.
#
#     tests/mutants/run.sh [WORD...]     only the mutants whose text has one of the WORDs
#
# A mutant is
#
#     what the bug is, in a line
#     src/base/rng.c
#     -round < 10
#     +round < 9
#     unit/test_rng
#
# and an empty line: the text behind '-' must stand exactly once in the file, else the mutant no longer applies, which is
# an error. Tests are programs (unit/test_rng) or scripts (cli/test_plot, mpi/test_eval), any of which may catch it. Lines with # are
# comments. JOBS workers (default: the cores) have a tree each, in build-mutants. A test that runs for two minutes is
# ended, and has caught nothing: the mutant is "slow". Where the bug is that something waits for ever, the line begins with
# the word hangs ("hangs mpi/test_eval"), and it is caught.
cd "$(dirname "$0")/../.." || exit 1
jobs=${JOBS:-$(nproc)}
out=build-mutants
rm -rf $out
mkdir -p $out/list $out/0 || exit 1

# One file a mutant: five lines.
awk -v out=$out/list 'BEGIN { RS = ""; FS = "\n" } {
    n = 0
    for (i = 1; i <= NF; i++) if ($i !~ /^#/) line[++n] = $i
    if (n == 0) next
    if (n != 5 || line[3] !~ /^-/ || line[4] !~ /^[+]/) { print "mutants: " FILENAME ": not five lines of the right form at: " line[1]; bad = 1 }
    file = sprintf("%s/%03d", out, ++count)
    for (i = 1; i <= 5; i++) print line[i] >file
    close(file)
} END { exit bad }' tests/mutants/*.txt || exit 1
for word in "$@"; do grep -lF -- "$word" $out/list/*; done | sort -u >$out/wanted
[ $# -gt 0 ] || ls $out/list/* >$out/wanted
[ -s $out/wanted ] || { echo "mutants: none has one of the words: $*"; exit 1; }

# The tree without bugs, built once; the workers get copies.
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t $out/0 2>/dev/null
tests=$(xargs sed -n 5p <$out/wanted | tr ' ' '\n' | grep -vx hangs | sort -u)
target_of() { # TEST: what make builds for it, beside build/mdm
    case $1 in
    cli/*) ;;
    mpi/*) echo tests-mpi ;;
    *) echo "build/tests/$1" ;;
    esac
}
programs=$(for t in $tests; do target_of "$t"; done)
echo "mutants: building"
# shellcheck disable=SC2086
make -C $out/0 -s -j"$(nproc)" build/mdm $programs >$out/build.log 2>&1 || { tail -20 $out/build.log; exit 1; }
export MDM_TEST_DATA=${MDM_TEST_DATA:-$(realpath -m ../shared)}
export GOMP_SPINCOUNT=1000 OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
for ((w = 1; w < jobs; w++)); do cp -a $out/0 $out/$w; done

try() { # FOLDER TEST: runs it; its status
    case $2 in
    cli/*) (cd "$1" && timeout -k 5 120 bash "tests/$2.sh" build/mdm) ;;
    mpi/*) (cd "$1" && timeout -k 5 120 bash "tests/$2.sh" build-mpi/mdm) ;;
    *) (cd "$1" && timeout -k 5 120 "build/tests/$2") ;;
    esac </dev/null >"$1/test.log" 2>&1
}
for t in $tests; do
    try $out/0 "$t" || { echo "mutants: $t fails without any bug:"; tail -20 $out/0/test.log; exit 1; }
done

# Prints a line "caught|passed|slow|broken SECONDS WHAT".
mutant() { # FOLDER FILE-OF-THE-MUTANT
    local folder=$1 what file old new names t result=passed hangs=slow start=$EPOCHREALTIME targets=build/mdm # which programs run too
    { read -r what; read -r file; IFS= read -r old; IFS= read -r new; read -r names; } <"$2"
    cp "$folder/$file" "$folder/saved" || { echo "broken 0 $what: no file $file"; return; }
    OLD=${old#-} NEW=${new#+} awk '{ text = text $0 "\n" } END {
        old = ENVIRON["OLD"]; at = index(text, old)
        if (at == 0 || index(substr(text, at + 1), old)) exit 1
        printf "%s%s%s", substr(text, 1, at - 1), ENVIRON["NEW"], substr(text, at + length(old)) }' "$folder/saved" >"$folder/$file" || {
        cp "$folder/saved" "$folder/$file"
        echo "broken 0 $what: '${old#-}' does not stand exactly once in $file"
        return
    }
    [[ $names == 'hangs '* ]] && hangs=caught names=${names#hangs }
    for t in $names; do targets="$targets $(target_of "$t")"; done
    # shellcheck disable=SC2086
    if make -C "$folder" -s $targets >"$folder/make.log" 2>&1; then
        for t in $names; do
            try "$folder" "$t"
            case $? in
            0) ;;
            124 | 137) result=$hangs ;; # timeout has ended it
            *) result=caught ;;
            esac
            [ $result != caught ] || break
        done
    else
        result=broken what="$what: does not build: $(grep -m1 error "$folder/make.log")"
    fi
    cp "$folder/saved" "$folder/$file"
    touch "$folder/$file"
    echo "$result $(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.0f", b - a }') $what ($file)"
}
worker() { # NUMBER: takes every jobs-th mutant of the list
    awk -v n="$jobs" -v k="$1" 'NR % n == k' $out/wanted | while read -r m; do mutant $out/$1 "$m"; done
}
for ((w = 0; w < jobs; w++)); do worker $w & done | tee $out/results | sed 's/^\([a-z]*\) \([0-9]*\) /\1 \2 s  /'
wait

caught=$(grep -c '^caught' $out/results) all=$(wc -l <$out/wanted)
grep -v '^caught' $out/results | sed 's/^/mutants: /'
echo "$caught of $all mutants caught"
[ "$caught" -eq "$all" ]
