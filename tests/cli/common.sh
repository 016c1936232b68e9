# What the tests of the command line share. Each begins with `. tests/cli/common.sh "$1"`, $1 being the program, and ends with
# `exit $bad`. Leaves: the program in $mdm, the golden cases in $golden, and an empty current folder, removed at the end. A check that
# does not hold says so, with what the command printed, and the test goes on.
mdm=$(realpath "$1")
box=$(mktemp -d) || exit 1
trap 'rm -rf "$box"' EXIT
golden=$box/golden dir=$box/work
ln -s "$(realpath tests/golden)" "$golden" # a path without spaces wherever the checkout is: it stands in lists of words
mkdir "$dir" && cd "$dir" || exit 1
exec </dev/null
bad=0

fail() { echo "FAILED: $*"; tail -n 30 out | sed 's/^/  out: /'; tail -n 30 err | sed 's/^/  err: /'; bad=1; }
check() { # STATUS WORDS...: mdm WORDS... ends with STATUS; its output is in the files out and err
    local want=$1 got
    shift
    last="mdm $*"
    "$mdm" "$@" >out 2>err
    got=$?
    [ $got -eq "$want" ] || fail "$last: status $got, expected $want"
}
out_is() { [ "$(cat out)" = "$1" ] || fail "$last: expected '$1'"; }
out_has() { grep -qF -- "$1" out || fail "$last: stdout lacks '$1'"; }
row() { tr -d ' ' <out | grep -qF -- "$1" || fail "$last: no row '$1'"; } # of a table, however wide its columns are
out_empty() { [ ! -s out ] || fail "$last: stdout should be empty"; }
err_has() { grep -qF -- "$1" err || fail "$last: stderr lacks '$1'"; }
err_empty() { [ ! -s err ] || fail "$last: stderr should be empty"; }
err_one_line() { [ "$(wc -l <err)" -eq 1 ] || fail "$last: expected one line on stderr"; }
refuses() { # TEXT WORDS...: mdm WORDS... ends with status 2 and one line on stderr that has TEXT
    check 2 "${@:2}"
    err_one_line
    err_has "$1"
}
ends_on_full_disk() { # LINE WORDS...: mdm WORDS... reads LINE, cannot write the answer, and does not wait for more
    [ -c /dev/full ] || return
    last="mdm ${*:2} >/dev/full"
    mkfifo asked
    exec 9<>asked
    echo "$1" >&9
    timeout 60 "$mdm" "${@:2}" <asked >/dev/full 2>err 9>&-
    [ $? -eq 2 ] || fail "$last: expected status 2"
    exec 9>&-
    rm asked
    err_one_line
    err_has 'cannot write standard output: No space left'
}
killed_at() { # FILE WORDS...: mdm WORDS... is killed as soon as FILE is there; false when it came to its end before that
    local pid
    last="kill -9 mdm ${*:2}"
    "$mdm" "${@:2}" >out 2>err &
    pid=$!
    until [ -e "$1" ] || ! kill -0 $pid 2>/dev/null; do sleep 0.005; done
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    [ $? -eq 137 ]
}

# From $golden/FOLDER/cases.json: the Nth array (as 1,2,3) or number with that key.
array() { # FOLDER KEY N
    awk -v n="$3" -v key="\"$2\": [" 'index($0, key) && ++c == n { on = 1; next } on && /\]/ { exit }
        on { gsub(/[ ,]/, ""); printf "%s%s", s, $0; s = "," }' "$golden/$1/cases.json"
}
number() { # FOLDER KEY N
    awk -v n="$3" -v key="\"$2\":" 'index($0, key) && ++c == n { gsub(/[ ,]|.*:/, ""); print; exit }' "$golden/$1/cases.json"
}
