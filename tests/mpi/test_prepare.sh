#!/bin/bash
# mdm prepare by several ranks: the files of one process, byte for byte; it goes on after a stop with any number of them; what fails
# on one rank ends all with one line.
here=$(realpath tests/mpi)
. tests/cli/common.sh "$1"
. "$here/common.sh"

# Files of one job to 80; one document is longer than a job.
for i in $(seq 1 60); do printf '{"text": "%s"}\n' "the number $i $(printf 'sees a dog and the sea %.0s' $(seq $((i * 37 % 200))))"; done >a.jsonl
for i in $(seq 120); do sed "s/number/number $i of/" a.jsonl; done >many.jsonl
{ cat a.jsonl; printf '{"text": "%s"}\n' "$(head -c 600000 </dev/zero | tr '\0' ' ' | sed 's/ /word /g')"; cat a.jsonl; } >long.jsonl
printf 'one\n\n\n\ntwo and three\n\n' >plain.txt
check 0 tokenizer train --vocab 300 --out tokenizer.json a.jsonl
prepare="prepare --tokenizer tokenizer.json --validation 0.1 --chunk-tokens 200000 --threads 2"
files="many.jsonl a.jsonl long.jsonl plain.txt"
check 0 $prepare --out one $files
told=$(grep -v MB/s out)
ranks 3 $prepare --out by-3 $files || fail "3 ranks"
diff -r -x .lock one by-3 >diff || fail "3 ranks: $(cat diff)"
[ "$(grep -v MB/s out)" = "$told" ] || fail "3 ranks: another account"
check 0 $prepare --out limited --limit-tokens 1000001 $files
ranks 3 $prepare --out limited-3 --limit-tokens 1000001 $files || fail "--limit-tokens"
diff -r -x .lock limited limited-3 >diff || fail "--limit-tokens: $(cat diff)"

# A signal to one rank stops all; others go on where they left off.
mpirun -n 2 "$mdm" $prepare --out stopped --threads 1 $files >out 2>err & pid=$!
for try in $(seq 400); do [ "$(ls stopped/*.bin 2>/dev/null | wc -l)" -ge 1 ] && break; sleep 0.02; done
kill -TERM "$(pid_of 1 $pid)" 2>/dev/null; wait $pid
[ $? -eq 143 ] || fail "stopped: expected status 143"
[ "$(grep -c 'stopped after [0-9]* documents; the same command goes on' err)" -eq 1 ] || fail "stopped: not one line"
ranks 3 $prepare --out stopped $files || fail "after a stop"
grep -q 'went on from a saved position' out || fail "after a stop: began anew"
diff -r -x .lock one stopped >diff || fail "after a stop: $(cat diff)"
# Of a killed rank nothing is left.
mpirun -n 3 "$mdm" $prepare --out killed --threads 1 $files >out 2>err & pid=$!
for try in $(seq 400); do [ "$(ls killed/*.bin 2>/dev/null | wc -l)" -ge 2 ] && break; sleep 0.02; done
kill -9 "$(pid_of 2 $pid)" 2>/dev/null; wait $pid
flock -w 30 killed/.lock true # mpirun may end before what it has killed is gone
check 0 $prepare --out killed $files
diff -r -x .lock one killed >diff || fail "after a kill: $(cat diff)"

# A bad record; a full disk; files that one rank sees differently; no memory on one rank.
one_line() { [ "$(grep -c '^mdm' err)" -eq 1 ] && grep '^mdm' err | grep -qF -- "$1" || fail "$last: expected one line with '$1'"; }
(cat many.jsonl; echo '{"text": 3}'; cat many.jsonl) >bad.jsonl
ranks 3 $prepare --out bad bad.jsonl && fail "a bad record"
one_line "bad.jsonl line 7201"
MDM_FAULT=write:9+ ranks 2 $prepare --out full $files && fail "a full disk"
one_line "rank 0 on $(hostname): cannot write"
for n in 60 300; do
    mpirun -n 1 "$mdm" $prepare --out "memory-$n" $files : -n 1 env MDM_FAULT=alloc:$n+ "$mdm" $prepare --out "memory-$n" $files >out 2>err && fail "no memory: alloc:$n"
    last="no memory: alloc:$n" one_line "rank 1 on $(hostname): "
done
# A file that one rank alone reads damaged: behind its first half, of which nothing that tells files apart sees anything. Nothing is
# half-written, and when it is whole the same command goes on. The same of a disk that one rank cannot read.
awk 'BEGIN { srand(1); for (i = 0; i < 30000; i++) printf "{\"text\": \"%d %d %d %d\"}\n", 1e9 * rand(), 1e9 * rand(), 1e9 * rand(), i }' | gzip >half.gz
mkdir there && cat half.gz half.gz >docs.jsonl.gz && cp docs.jsonl.gz there
printf '\0\1' | dd of=there/docs.jsonl.gz bs=1 seek="$(stat -c %s half.gz)" conv=notrunc status=none
prepare="prepare --tokenizer $dir/tokenizer.json --validation 0.1 --chunk-tokens 50000 --threads 2"
check 0 $prepare --out whole docs.jsonl.gz
apart() { # OUT FAULT: by three ranks, the second of which is elsewhere, and has the FAULT
    last="a rank that cannot read: $*" SECONDS=0
    timeout -s KILL 60 mpirun -n 1 "$mdm" $prepare --out "$dir/$1" docs.jsonl.gz : -n 1 --wdir "$dir/there" env MDM_FAULT="$2" "$mdm" $prepare --out "$dir/$1" docs.jsonl.gz : \
        -n 1 "$mdm" $prepare --out "$dir/$1" docs.jsonl.gz >out 2>err
}
ends() { # OUT TEXT: the three ended with one line, and all that was written is good
    [ $SECONDS -lt 30 ] || fail "$last: took $SECONDS s"
    one_line "rank 1 on $(hostname): $2"
    ls "$1" | grep -E 'tmp|manifest' >out && fail "$last: half-written"
    ls "$1"/train_plain_0_*.bin >/dev/null || fail "$last: nothing was written before"
}
apart mended && fail "a damaged file of one rank"
ends mended 'docs.jsonl.gz: damaged gzip data near byte'
cp docs.jsonl.gz there
apart mended read:11 && fail "a disk that one rank cannot read" # behind 10 reads that tell files apart: in the first job, another rank's
ends mended "cannot read 'docs.jsonl.gz'"
apart mended "" || fail "$last: it does not go on"
grep -q 'went on from a saved position' out || fail "$last: began anew"
diff -r -x .lock whole mended >diff || fail "$last: $(cat diff)"

mkdir other && sed 's/sea/lea/g' a.jsonl >other/a.jsonl
last="other files"
mpirun -n 1 "$mdm" $prepare --out apart a.jsonl : -n 1 "$mdm" $prepare --out apart other/a.jsonl >out 2>err && fail "$last"
one_line "rank 1 on $(hostname): rank 0 sees other files, settings or another tokenizer"
exit $bad
