#!/bin/bash
# mdm models: 30 rows, the published totals, the options.
. tests/cli/common.sh "$1"
row() { # NAME WORDS...: the row of that name is these words
    local name=$1
    shift
    [ "$(awk -v n="$name" '$1 == n { $1 = $1; print }' out)" = "$name $*" ] || fail "$last: row $name is not '$name $*'"
}

check 0 models
[ "$(grep -c '^[0-9]' out)" -eq 30 ] || fail "$last: expected 30 rows"
err_empty
row 6 6 4 256 1024 6,294,784 22,679,040 22,678,784
row 170 18 12 768 3072 169,897,728 219,050,496 219,049,728
row 336 20 16 1024 4096 335,586,304 401,123,328 401,122,304
row 472 18 10 1280 5120 471,906,560 553,827,840 553,826,560
row 1028 20 14 1792 7168 1,027,677,952 1,142,367,744 1,142,365,952
[ "$(awk 'length > 120' out | wc -l)" -eq 0 ] || fail "$last: a line is longer than 120 columns"

check 0 models --family mdm --vocab 8191
grep -q 'padded to 8192' out || fail "$last: vocabulary not padded to 8192"
row 6 6 4 256 1024 6,294,784 10,489,344
check 0 models --family arm
row 170 18 12 768 3072 169,897,728 219,049,728

check 0 models --json --family mdm
[ "$(tr -d ' \n' <out | grep -o '"name":' | wc -l)" -eq 30 ] || fail "$last: expected 30 objects"
tr -d ' \n' <out | grep -q '"name":170,.*"N":169897728,"parameters":{"mdm":219050496}' || fail "$last: row 170"

check 2 models --vocab 0
check 2 models --vocab 99999999
check 2 models --family gpt
grep -q 'mdm|arm|both' err || fail "$last: the choices are not named"
check 2 models 170
exit $bad
