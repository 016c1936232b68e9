#!/bin/bash
# tests/run.sh: of tests that it has ended nothing is left, neither on the disk nor in memory.
runner=$(realpath tests/run.sh)
. tests/cli/common.sh "$1"
mkdir -p tree/tests/unit tree/tests/cli tree/tests/mpi tree/build/tests/unit tree/build-mpi tmp
cp "$runner" tree/tests && touch tree/tests/unit/test_slow.c
cat >tree/build/tests/unit/test_slow <<END
#!/bin/bash
mktemp -d >>"$dir/made"
mktemp -d -p "\${MDM_TEST_MEMORY:-\$TMPDIR}" >>"$dir/made"
echo >"$dir/begun"
sleep 60
END
printf '#!/bin/bash\nexit 0\n' >tree/build/mdm
chmod +x tree/build/mdm tree/build/tests/unit/test_slow
last="tests/run.sh, stopped"
TMPDIR=$dir/tmp tree/tests/run.sh build >out 2>err & pid=$!
for _ in $(seq 200); do [ -e begun ] && break; sleep 0.05; done
kill -TERM $pid; wait $pid
[ $? -eq 130 ] || fail "$last: expected status 130"
[ "$(wc -l <made)" -eq 2 ] || fail "$last: the test did not begin"
while read -r folder; do [ -e "$folder" ] && fail "$last: $folder is left"; done <made
[ -z "$(ls tmp)" ] || fail "$last: $(ls tmp) is left"
exit $bad
