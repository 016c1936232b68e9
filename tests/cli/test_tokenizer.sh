#!/bin/bash
# mdm tokenizer from the command line: train, encode, decode, there and back, what it refuses.
mdm=$(realpath "$1")
golden=$(realpath "$(dirname "$0")/../golden/tokenizers")
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
bad=0
fail() { echo "FAILED: $*"; sed 's/^/  out: /' out; sed 's/^/  err: /' err; bad=1; }
check() { # STATUS ARGUMENTS...; standard input is what the caller gives
    local want=$1 got
    shift
    last="mdm tokenizer $*"
    "$mdm" tokenizer "$@" >out 2>err
    got=$?
    [ $got -eq "$want" ] || fail "$last: status $got, expected $want"
}
out_is() { [ "$(cat out)" = "$1" ] || fail "$last: expected '$1'"; }
out_has() { grep -qF -- "$1" out || fail "$last: stdout lacks '$1'"; }
err_has() { grep -qF -- "$1" err || fail "$last: stderr lacks '$1'"; }
err_one_line() { [ "$(wc -l <err)" -eq 1 ] || fail "$last: expected one line on stderr"; }
refused() { # WHAT ARGUMENTS...
    local what=$1
    shift
    check 2 "$@"
    err_has "$what"
    err_one_line
}

# help
check 0 --help </dev/null; out_has 'train|encode|decode'
check 0 train --help </dev/null; out_has '--min-count'
check 0 decode --help </dev/null; out_has '--keep-special'

# train: text, jsonl, a folder; the same text gives the same file
for i in 1 2 3 4 5 6 7 8; do printf 'the hen and the %s geese went to the mill\n\nthe mill was shut\n\n' $i; done >a.txt
printf '%s\n' '{"text": "the fox said: caf\u00e9<|endoftext|>"}' '{"text": "the fox waited"}' >b.jsonl
mkdir in && cp a.txt b.jsonl in
check 0 train --vocab 280 --out t.json a.txt b.jsonl </dev/null
out_has 't.json: 280 tokens from 18 documents'
check 0 train --vocab 280 --out u.json in </dev/null
cmp -s t.json u.json || fail "the folder gave another tokenizer than its files"
OMP_NUM_THREADS=3 check 0 train --vocab 280 --out v.json in </dev/null
cmp -s t.json v.json || fail "three threads gave another tokenizer"
check 0 train --vocab 100k --special '<pad>,<|im_start|>' --out w.json a.txt </dev/null
out_has 'fewer than 100000'
check 0 encode --tokenizer w.json <<<'{"text": "<|im_start|><pad>!"}'
out_is '{"ids":[1,0,2]}'

# encode and decode, alone and there and back
check 0 encode --tokenizer "$golden/llama.model" --bos --eos <<<'{"text": "The hen"}'
grep -qE '^\{"ids":\[1,[0-9,]+,2\]\}$' out || fail "ids"
cp out ids.jsonl
check 0 decode --tokenizer "$golden/llama.model" ids.jsonl </dev/null; out_is '{"text":"The hen"}'
check 0 decode --tokenizer "$golden/llama.model" --keep-special ids.jsonl </dev/null; out_is '{"text":"<s> The hen</s>"}'
check 0 encode --tokenizer t.json <<<'{"text": ""}'; out_is '{"ids":[]}'
check 0 decode --tokenizer t.json <<<'{"ids": []}'; out_is '{"text":""}'
check 0 encode --tokenizer t.json </dev/null; out_is ''
# 1500 lines are several batches: order and content are kept
for i in $(seq 1500); do echo "{\"text\":\"line $i: the hén \\\"said\\\" \\n\\t \\u2003 🦊\"}"; done >many.jsonl
for t in t.json "$golden/llama.json" "$golden/llama.model" "$golden/bytes.json"; do
    check 0 encode --tokenizer "$t" many.jsonl </dev/null
    cp out ids.jsonl
    check 0 decode --tokenizer "$t" ids.jsonl </dev/null
    sed 's/\\u2003/\xe2\x80\x83/' many.jsonl | cmp -s - out || fail "$t: there and back is not the same"
done

# what it refuses
refused 'train, encode or decode' </dev/null
refused "did you mean 'encode'" encod </dev/null
refused 'no files' train --out x.json </dev/null
refused "--out" train a.txt </dev/null
refused 'no-such.txt' train --out x.json no-such.txt </dev/null
refused 'special token' train --out x.json --special a a.txt </dev/null
refused 'expected 258' train --vocab 257 --special '<a>,<b>' --out x.json a.txt </dev/null
[ ! -e x.json ] || fail "x.json was written"
refused '--tokenizer' encode </dev/null
refused 'no-such.json' encode --tokenizer no-such.json </dev/null
refused 'not a tokenizer' encode --tokenizer a.txt </dev/null
refused 'has no begin token' encode --tokenizer "$golden/chars.json" --bos </dev/null
refused 'expected one file' encode --tokenizer t.json a.txt b.jsonl </dev/null
check 2 encode --tokenizer t.json < <(printf '{"text": "one"}\n{"txt": "two"}\n')
err_has 'line 2: "text" is missing'; err_one_line; out_has '{"ids":['
refused 'line 1' encode --tokenizer t.json <<<'{"text": 5}'
refused 'line 1' encode --tokenizer t.json <<<'nonsense'
refused '[0, 280)' decode --tokenizer t.json <<<'{"ids": [1, 300]}'
refused 'line 1' decode --tokenizer t.json <<<'{"ids": "1"}'
exit $bad
