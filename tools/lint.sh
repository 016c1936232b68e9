#!/bin/bash
# make lint: the layering, the formatting, and static analysis where the tools are installed. Says all, then fails.
cd "$(dirname "$0")/.." || exit 1
bad=0
complain() { echo "lint: $*" >&2; bad=1; }

# A folder of src/ is a layer. A file may include its own folder and folders of the same or a lower layer.
declare -A layer=([base]=0 [compute]=1 [comm]=1 [text]=2 [parquet]=2 [data]=3 [model]=3 [train]=4 [infer]=4 [eval]=5 [scaling]=5 [serve]=5 [cmd]=6)
while IFS=: read -r file line text; do
    from=${file#src/} from=${from%%/*}
    to=${text#*\"} to=${to%\"*}
    header=$to to=${to%%/*}
    if [ -z "${layer[$from]}" ]; then
        complain "$file: the folder src/$from has no layer in tools/lint.sh"
    elif [[ $header != */* ]]; then
        # A bare name is a file beside this one (the kernels' .inc).
        [ -f "$(dirname "$file")/$header" ] || complain "$file:$line: \"$header\": include as \"folder/file.h\""
    elif [ ! -f "src/$header" ]; then
        complain "$file:$line: \"$header\" is not in src/"
    elif [ -z "${layer[$to]}" ] || [ "${layer[$to]}" -gt "${layer[$from]}" ]; then
        complain "$file:$line: src/$from may not include \"$header\": it is a higher layer"
    fi
done < <(grep -rnE --include='*.[ch]' --include='*.inc' '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' src)

# Rules that a word finds.
only() { # FILES-REGEX PATTERN MESSAGE: the pattern may stand in these files only
    local hit
    while IFS= read -r hit; do complain "${hit%%:*}: $3"; done < <(grep -rnE --include='*.[ch]' --include='*.inc' "$2" src |
        grep -vE "^($1):")
}
only 'src/base/mem\.c' '(^|[^_a-zA-Z])(malloc|calloc|realloc|posix_memalign|aligned_alloc|strdup|asprintf) ?\(' 'memory comes from base/mem.h'
only 'src/comm/comm_mpi\.c' '#include <mpi\.h>' 'only src/comm/comm_mpi.c includes mpi.h'
only 'src/(cmd/[a-z_0-9]+|comm/watch)\.c' '(^|[^_a-zA-Z.>])exit ?\(' 'only cmd/ (and comm/watch) ends the program'
only 'src/compute/gemm\.c' '#include <oneapi/' 'only src/compute/gemm.c includes oneDNN'
only 'nowhere' '(TODO|FIXME|XXX)' 'finish it, or write it down elsewhere'
only 'nowhere' '(^|[^A-Z_])SPEC( |\.|:|§)' 'readers have docs/ and the paper, not the specification'

# A struct's name means one thing in the whole program.
while read -r name where; do
    complain "struct $name is defined in more than one file: $where"
done < <(grep -rnoE --include='*.[ch]' --include='*.inc' '^(static )?(const )?struct [a-z_0-9]+ \{' src |
    sed -E 's/^([^:]*):[0-9]+:.*struct ([a-z_0-9]+) \{/\2 \1/' | sort -u |
    awk '{ where[$1] = where[$1] " " $2; n[$1]++ } END { for (name in n) if (n[name] > 1) print name where[name] }' | sort)

# The fields of struct linear are linear.c's own: all else compiles without them.
hidden=$(mktemp -d)
mkdir "$hidden/compute"
awk '/^struct linear \{/ { print "struct linear { char hidden; };"; inside = 1 }
     !inside { print }
     /^\};/ { inside = 0 }' src/compute/linear.h >"$hidden/compute/linear.h"
for file in $(grep -rlE --include='*.c' 'struct linear|linear_[a-z]+\(' src tests bench | grep -v '^src/compute/linear\.c$'); do
    ${CC:-cc} -std=c11 -D_GNU_SOURCE -fsyntax-only -w "-I$hidden" -Isrc -Itests "$file" ||
        complain "$file: fields of struct linear belong to src/compute/linear.c"
done
rm -r "$hidden"

# Every mutant still applies: what it replaces stands exactly once in its file.
while read -r line; do complain "$line: no longer applies"; done < <(awk '
    function whole(file,   line, text) { while ((getline line <file) > 0) text = text line "\n"; close(file); return text }
    /^#/ { next }
    NF == 0 { n = 0; next }
    { n++ }
    n == 1 { what = $0 }
    n == 2 { file = $0; if (!(file in text)) text[file] = whole(file) }
    n == 3 { old = substr($0, 2); at = index(text[file], old)
             if (at == 0 || index(substr(text[file], at + 1), old)) print FILENAME ":" FNR ": the mutant \047" what "\047" }
' tests/mutants/*.txt)

files=$(find src tests bench -name '*.c' -o -name '*.h' -o -name '*.inc' | sort)
if command -v clang-format >/dev/null; then
    for file in $files; do
        clang-format --dry-run -Werror "$file" 2>/dev/null || complain "$file: not as .clang-format wants it; run make format"
    done
else
    echo "lint: clang-format is not installed: formatting not checked"
fi
if command -v cppcheck >/dev/null; then
    # err_bug() must look as final as it is. The kinds left out are those that version 2.10 gets wrong here.
    cppcheck --quiet --std=c11 --error-exitcode=1 --enable=warning --inline-suppr --suppress=missingIncludeSystem \
        --suppress=internalAstError --suppress=ctunullpointer --suppress=compareBoolExpressionWithInt \
        --suppress=invalidFunctionArg -Isrc -D_GNU_SOURCE '-Derr_bug(a,b,c)=abort()' src || bad=1
else
    echo "lint: cppcheck is not installed: no static analysis"
fi
[ $bad -eq 0 ] && echo "lint: clean"
exit $bad
