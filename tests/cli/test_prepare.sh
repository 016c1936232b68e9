#!/bin/bash
# mdm prepare from the command line: presets, folders and patterns, packed input, stop and resume, what it says.
. tests/cli/common.sh "$1"
has() { [ -e "$1" ] || fail "$last: $1 is not there"; }
size() { [ "$(stat -c %s "$1")" -eq "$2" ] || fail "$last: $1 has $(stat -c %s "$1") bytes, expected $2"; }

# A byte-level tokenizer: id 0 is <|endoftext|>, 1 + b the byte b.
awk 'BEGIN {
    printf "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":0,\"content\":\"<|endoftext|>\",\"special\":true,\"single_word\":false,"
    printf "\"lstrip\":false,\"rstrip\":false,\"normalized\":false}],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\","
    printf "\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true},\"post_processor\":null,"
    printf "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{\"<|endoftext|>\":0"
    for (b = other = 0; b < 256; b++) {
        itself = (b > 32 && b < 127) || (b > 160 && b < 173) || b > 173
        printf ",\"\\u%04x\":%d", itself ? b : 256 + other, b + 1
        other += !itself
    }
    print "}}}"
}' >tok.json
t="--tokenizer tok.json"

mkdir -p in/sub
printf 'one document\n\nanother\n' >in/a.txt
printf '%s\n' '{"text": "third", "meta": {"redpajama_set_name": "RedPajamaC4"}}' \
    '{"text": "code", "meta": {"redpajama_set_name": "RedPajamaGithub"}}' >in/sub/b.jsonl
gzip -c in/sub/b.jsonl >in/c.jsonl.gz
echo image >in/d.png

check 0 prepare $t --out o1 in
out_has 'train_plain: 6 documents'
out_has 'the last one is shorter: 43'
err_has 'passed over 1 file not taken for text'
has o1/manifest.json
# 12 + 7 + 2 * (5 + 4) bytes of text, 6 end ids, 24 bytes of header; 16-bit ids
size o1/train_plain_0_0000000000.bin $((24 + 2 * (37 + 6)))
check 0 prepare $t --out o1 in; out_has 'already complete'
refuses '-: a pipe is read only once: write it into a file first (… | zstd >documents.jsonl.zst)' prepare $t --out pipe -
mkfifo fifo
refuses 'fifo: a pipe is read only once' prepare $t --out pipe in fifo
check 2 prepare $t --out o1 --bos in; err_has 'other settings'; err_has 'or delete train_plain_*.bin there and manifest.json'

# What it says to delete is all that stands in the way: of a validation share too, of a finished set and of an unfinished one.
printf 'document %d\n\n' {1..40} >in2.txt
check 0 prepare $t --out advice --validation 0.5 in2.txt
check 2 prepare $t --out advice --bos in2.txt
err_has 'or delete train_plain_*.bin and validation_plain_*.bin there and manifest.json'
rm advice/train_plain_*.bin advice/validation_plain_*.bin advice/manifest.json
check 0 prepare $t --out advice --no-eos in2.txt
check 0 prepare $t --out advice --name second in2.txt
check 2 prepare $t --out advice in2.txt
err_has "or delete train_plain_*.bin there and the set's entry in manifest.json"
MDM_FAULT=write:9+ check 2 prepare $t --out advice2 --validation 0.5 --chunk-tokens 20 in2.txt
check 2 prepare $t --out advice2 --chunk-tokens 20 in2.txt
err_has 'delete this file and train_plain_*.bin and validation_plain_*.bin to begin anew'
rm advice2/prepare_train_plain.json advice2/train_plain_*.bin advice2/validation_plain_*.bin
check 0 prepare $t --out advice2 --chunk-tokens 20 in2.txt

# presets: the published filter, names and ids; --no-eos and the like come before them
check 0 prepare $t --out o2 --preset slimpajama in/sub
out_has 'train_slimpajama: 1 document, 6 tokens'
out_has '1 left out'
has o2/train_slimpajama_0_0000000000.bin
check 0 prepare $t --out o2 --preset slimpajama --name again --no-eos --skip 'text=third' in/sub
out_has 'train_again: 1 document, 4 tokens'
echo '{"text": "fourth", "meta": {"redpajama_set_name": "RedPajamaBook"}}' >fourth.jsonl
check 0 prepare $t --out skips --skip 'text=third' --skip 'meta.redpajama_set_name=RedPajamaGithub' in/sub fourth.jsonl
out_has 'train_plain: 1 document, 7 tokens'
out_has '2 left out'
check 0 prepare $t --out o3 --preset fineweb --limit-tokens 10 'in/su?/*.jsonl'
out_has 'train_fineweb: 2 documents, 10 tokens in 1 chunk file of 2097152 tokens'
out_has 'ended by the limit'
[ "$(od -An -tu2 -j24 -N4 o3/train_fineweb_0_0000000000.bin | tr -s ' ')" = ' 0 117' ] || fail "fineweb: begin id, 't'"
check 2 prepare $t --out o4 --preset starcoder in/sub; err_has "no field 'content'"
check 0 prepare $t --out o4 --separator '\n' --split test --threads 3 --chunk-tokens 5 --quiet in/a.txt
out_has 'test_plain: 2 documents, 21 tokens in 5 chunk files of 5 tokens; the last one is shorter: 1'

printf 'one\n---\ntwo\n' >dashes.txt
check 0 prepare $t --out dashes --separator --- dashes.txt
out_has 'train_plain: 2 documents, 8 tokens'

# a zero byte is a character like others
echo '{"text": "a\u0000b"}' >zero.jsonl
check 0 prepare $t --out zero zero.jsonl
[ "$(od -An -tu2 -j24 zero/train_plain_0_0000000000.bin | tr -s ' ')" = ' 98 1 99 0' ] || fail "$last: 'a', zero, 'b', end id"

# the tokenizer goes with the chunks, with the files that it cannot be read without
mkdir pair
sed 's/.*"vocab":\({[^}]*}\).*/\1/' tok.json >pair/vocab.json
echo '#version: 0.2' >pair/merges.txt
echo '{"eos_token": "<|endoftext|>"}' >pair/tokenizer_config.json
check 0 prepare --tokenizer pair --out o7 in/a.txt
for f in vocab.json merges.txt tokenizer_config.json; do cmp -s pair/$f o7/$f || fail "$last: $f is not there as it was"; done
check 0 prepare --tokenizer o7 --out o8 in/a.txt
# before the set counts as complete: one whose tokenizer cannot be copied is not listed, and is finished by the next start
mkdir -p o7b/tokenizer_config.json
refuses 'o7b/tokenizer_config.json' prepare --tokenizer pair --out o7b in/a.txt
[ ! -e o7b/manifest.json ] || fail "$last: a set without its tokenizer is listed"
rmdir o7b/tokenizer_config.json
check 0 prepare --tokenizer pair --out o7b in/a.txt; out_has 'went on from a saved position'
diff -r -x .lock o7 o7b >diffs || fail "$last: another folder than that of one start"
rm o7b/vocab.json o7b/merges.txt
check 0 prepare --tokenizer pair --out o7b in/a.txt; out_has 'already complete'
diff -r -x .lock o7 o7b >diffs || fail "$last: the tokenizer is not back"
cmp -s o7/train_plain_0_0000000000.bin o8/train_plain_0_0000000000.bin || fail "$last: the copied tokenizer gives other ids"

# a validation share takes whole documents; both splits together are everything
for i in $(seq 1000); do echo "{\"text\": \"document $i\"}"; done >many.jsonl
check 0 prepare $t --out o5 --validation 0.25 many.jsonl
out_has 'validation_plain: '
n=$(sed -n 's/^validation_plain: \([0-9]*\) .*/\1/p' out)
{ [ "$n" -gt 190 ] && [ "$n" -lt 310 ]; } || fail "validation share of 0.25: $n of 1000"

# stopped again and again, then finished: the same files as in one go
for i in $(seq 60000); do echo "{\"text\": \"made-up document $i of many, neither long nor wise\"}"; done >big.jsonl
check 0 prepare $t --out whole --threads 1 --validation 0.1 --chunk-tokens 50k big.jsonl
stops=0
for i in 1 2 3 4 5 6 7 8; do
    timeout -s INT 0.0$((2 + i)) "$mdm" prepare $t --out parts --threads 2 --validation 0.1 --chunk-tokens 50k big.jsonl \
        >out 2>err && break
    grep -q 'the same command goes on from here' err && stops=$((stops + 1))
done
check 0 prepare $t --out parts --validation 0.1 --chunk-tokens 50k big.jsonl
diff -r -x .lock whole parts >diff.txt || { cat diff.txt; fail "resumed run differs"; }
echo "stopped $stops times before it was finished"
for i in $(seq 20); do cat big.jsonl; done >huge.jsonl
"$mdm" prepare $t --out quiet --threads 1 --chunk-tokens 50k --quiet huge.jsonl >out 2>err & pid=$!
for try in $(seq 500); do [ -n "$(ls quiet/*.bin 2>/dev/null)" ] && break; sleep 0.02; done
kill -TERM $pid; wait $pid; got=$?
[ $got -eq 143 ] || fail "--quiet, and stopped: status $got"
err_empty
rm -r huge.jsonl quiet

# what cannot be meant
check 2 prepare --out o6 in; err_has '--tokenizer'
check 2 prepare $t --out o6; err_has 'no input'; err_one_line
check 2 prepare $t --out o6 missing.txt; err_has 'missing.txt'; err_one_line
check 2 prepare $t --out o6 in/a.txt in/a.txt; err_has 'named twice'
check 2 prepare $t --out o6 --separator '\q' in/a.txt; err_has '--separator'
check 2 prepare $t --out o6 --skip nothing in/a.txt; err_has 'FIELD=VALUE'
check 2 prepare $t --out o6 --validation 1.5 in/a.txt; err_has '--validation'
check 2 prepare $t --out o6 --split a_b in/a.txt; err_has 'letters'
check 2 prepare --tokenizer in/a.txt --out o6 in/a.txt; err_one_line
check 2 prepare $t --out o6 o1/train_plain_0_0000000000.bin; err_has 'chunk file'
[ -e o6/manifest.json ] && fail "an error wrote a manifest"
exit $bad
