#!/bin/bash
# make tour: types the commands that README.md and docs/*.md show behind "$ ", in a fresh copy of the tree after `make demo`,
# and looks whether each prints what is shown. Five minutes, three of them the demo's training.
#
#     tools/tour.sh [FOLDER]      a folder where this has run before is used as it is: no new demo
#
# Every line that is shown must be printed, in that order; more may be ("…" says so). Times and rates are not compared. A
# line that differs in other numbers, which the processor or the demo's number of steps may change, is told, and so are
# other samples; one that differs in words fails.
cd "$(dirname "$0")/.." || exit 1
top=$PWD
dir=${1:-$(mktemp -d)}
mkdir -p "$dir" && dir=$(realpath "$dir") || exit 1
[ "$1" ] || trap 'rm -rf "$dir"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 # in a container
export OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_rmaps_base_oversubscribe=1

make -s all || exit 1
make -s all MPI=1 || exit 1
if [ ! -d "$dir/tree" ]; then
    mkdir "$dir/tree" || exit 1
    git ls-files -z | xargs -0 cp --parents -t "$dir/tree" || exit 1
    ln -s "$top/build" "$top/build-mpi" "$dir/tree"
    echo "tour: make demo"
    (cd "$dir/tree" && make -s demo) >"$dir/demo.out" 2>&1 || { tail -20 "$dir/demo.out"; exit 1; }
fi
rm -rf "$dir/list" "$dir"/tree/demo-run/{again,short,ranks,names,eval,tasks,asked,asked-2} && mkdir "$dir/list" || exit 1

# One command a file: where it stands, the command, what is shown.
awk -v dir="$dir/list" '
    FNR == 1 || /^[^ ]/ { open = 0 }
    /^    [$] / { file = sprintf("%s/%03d", dir, ++n); open = 1; command = 1; print FILENAME ":" FNR >file; sub(/^    [$] /, "    ") }
    open && command { sub(/^    /, ""); print >(file ".sh"); command = /\\$/; next }
    open && /^    / { sub(/^    /, ""); print >(file ".shown") }' README.md docs/*.md

# Lines without what differs from run to run.
plain() {
    sed -E 's/ \(multiplied as f32: this processor has no bf16 arithmetic\)//
        s/[0-9.]+( k)? (s|MB\/s|steps\/s|tokens\/s|samples\/s)\b/_\1 \2/g; s/, _ (steps|samples)\/s//; s/MFU [0-9]+/MFU _/g; s/ +/ /g; s/ $//'
}
numberless() { sed -E 's/-?[0-9][0-9,.]*(e[+-]?[0-9]+)?/#/g'; }
missing() { # SHOWN PRINTED: shown lines that are not printed in their turn
    awk 'NR == FNR { line[++n] = $0; next }
        { for (i = at + 1; i <= n && line[i] != $0; i++); if (i > n) print; else at = i }' "$2" "$1"
}

cd "$dir/tree" || exit 1
PATH=$PWD/build:$PATH
same=0 near=0 bad=0
for file in "$dir"/list/[0-9][0-9][0-9]; do
    where=$(cat "$file") command=$(cat "$file.sh")
    bash -c "$command" >"$file.printed" 2>&1 </dev/null
    status=$?
    touch "$file.shown"
    plain <"$file.printed" >"$file.p"
    grep -v '^ *…$' "$file.shown" | plain | grep . >"$file.s"
    missing "$file.s" "$file.p" >"$file.differs"
    missing <(numberless <"$file.s") <(numberless <"$file.p") >"$file.words"
    [[ $command == 'mdm generate '* ]] && : >"$file.words" # a model that has learned a little more or less
    if [ $status -ne 0 ] || [ -s "$file.words" ]; then
        bad=$((bad + 1))
        echo "tour: $where: DIFFERS (status $status): $command"
        sed 's/^/    shown:   /' "$file.shown"
        sed 's/^/    printed: /' "$file.printed" | head -40
    elif [ -s "$file.differs" ]; then
        near=$((near + 1))
        echo "tour: $where: other numbers or samples: $(head -1 <<<"$command")"
        sed 's/^/    shown:   /' "$file.differs"
        sed 's/^/    printed: /' "$file.printed" | head -12
    else
        same=$((same + 1))
    fi
done
echo "tour: $same commands print what is shown, $near other numbers or samples, $bad other words"
[ $bad -eq 0 ] && [ $same -gt 0 ]
