#!/bin/bash
# mdm tokenizer from the command line: train, encode, decode, there and back, what it refuses.
. tests/cli/common.sh "$1"

# help
check 0 tokenizer --help; out_has 'train|encode|decode'
check 0 tokenizer train --help; out_has '--min-count'
check 0 tokenizer decode --help; out_has '--keep-special'

# train: text, jsonl, a folder; the same text gives the same file
for i in 1 2 3 4 5 6 7 8; do printf 'the hen and the %s geese went to the mill\n\nthe mill was shut\n\n' $i; done >a.txt
printf '%s\n' '{"text": "the fox said: caf\u00e9<|endoftext|>"}' '{"text": "the fox waited"}' >b.jsonl
mkdir in && cp a.txt b.jsonl in
check 0 tokenizer train --vocab 280 --out t.json a.txt b.jsonl
out_has 't.json: 280 tokens from 18 documents'
check 0 tokenizer train --vocab 280 --out u.json in
cmp -s t.json u.json || fail "the folder gave another tokenizer than its files"
check 0 tokenizer train --vocab 280 --threads 3 --out v.json in
cmp -s t.json v.json || fail "three threads gave another tokenizer"
check 0 tokenizer train --vocab 100k --special '<pad>,<|im_start|>' --out w.json a.txt
out_has 'fewer than 100000'
check 0 tokenizer encode --tokenizer w.json <<<'{"text": "<|im_start|><pad>!"}'
out_is '{"ids":[1,0,2]}'

printf 'the hen\nthe mill\n' >lines.txt
check 0 tokenizer train --vocab 260 --separator '\n' --out x.json lines.txt; out_has 'from 2 documents'; rm x.json
printf 'the hen---the mill---' >dashes.txt
check 0 tokenizer train --vocab 260 --separator --- --out x.json dashes.txt; out_has 'from 2 documents'; rm x.json
refuses 'must be followed by one of' tokenizer train --separator '\q' --out x.json lines.txt

# encode and decode, alone and there and back
check 0 tokenizer encode --tokenizer "$golden/tokenizers/llama.model" --bos --eos <<<'{"text": "The hen"}'
grep -qE '^\{"ids":\[1,[0-9,]+,2\]\}$' out || fail "ids"
cp out ids.jsonl
check 0 tokenizer decode --tokenizer "$golden/tokenizers/llama.model" ids.jsonl; out_is '{"text":"The hen"}'
check 0 tokenizer decode --tokenizer "$golden/tokenizers/llama.model" --keep-special ids.jsonl; out_is '{"text":"<s> The hen</s>"}'
check 0 tokenizer encode --tokenizer t.json <<<'{"text": ""}'; out_is '{"ids":[]}'
check 0 tokenizer decode --tokenizer t.json <<<'{"ids": []}'; out_is '{"text":""}'
check 0 tokenizer encode --tokenizer t.json; out_is ''
# 1500 lines are several batches: order and content are kept
for i in $(seq 1500); do echo "{\"text\":\"line $i: the hén \\\"said\\\" \\n\\t \\u2003 🦊\"}"; done >many.jsonl
for t in t.json "$golden/tokenizers/llama.json" "$golden/tokenizers/llama.model" "$golden/tokenizers/bytes.json"; do
    check 0 tokenizer encode --tokenizer "$t" many.jsonl
    cp out ids.jsonl
    check 0 tokenizer decode --tokenizer "$t" ids.jsonl
    sed 's/\\u2003/\xe2\x80\x83/' many.jsonl | cmp -s - out || fail "$t: there and back is not the same"
done

# what it refuses
# A conversation: each line is answered before the next is asked.
converse() { # WORDS QUESTION ANSWER
    coproc talk { "$mdm" tokenizer $1 --tokenizer t.json 2>/dev/null; }
    for ((i = 0; i < 3; i++)); do
        echo "$2" >&"${talk[1]}"
        read -r -t 60 answer <&"${talk[0]}" || { fail "tokenizer $1: no answer to line $i while the input pauses"; break; }
        [[ $answer == $3 ]] || fail "tokenizer $1: '$answer'"
    done
    exec {talk[1]}>&-
    wait
}
converse encode '{"text": "one"}' '{"ids":['*
converse decode '{"ids": [5, 6]}' '{"text":'*

ends_on_full_disk '{"text": "one"}' tokenizer encode --tokenizer t.json
ends_on_full_disk '{"ids": [5, 6]}' tokenizer decode --tokenizer t.json

# So many threads, whatever the machine has.
threads_of() { # N: of tokenizer encode --threads N
    coproc talk { exec "$mdm" tokenizer encode --threads "$1" --tokenizer t.json 2>/dev/null; }
    local pid=$!
    echo '{"text": "one"}' >&"${talk[1]}"
    read -r -t 60 answer <&"${talk[0]}"
    sed -n 's/^Threads:\t//p' /proc/$pid/status
    exec {talk[1]}>&-
    wait
}
one=$(threads_of 1) five=$(threads_of 5)
[ $((five - one)) -eq 4 ] || fail "tokenizer encode --threads 1 has $one threads, --threads 5 $five"

# A text that fails says where it stands, as a line that cannot be read does.
sed '/"pre_tokenizer"/,/}/c "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+(b|c)"}, "behavior": "Isolated", "invert": false},' \
    "$golden/tokenizers/bytes.json" >slow.json
printf '%s\n' '{"text": "aab"}' '' "{\"text\": \"$(printf 'a%.0s' {1..60})\"}" >slow.jsonl
refuses "slow.jsonl line 3: splitting the text by the tokenizer's regular expression" tokenizer encode --tokenizer slow.json slow.jsonl
[ "$(wc -l <out)" -eq 1 ] || fail "$last: the line before should be answered"

refuses 'train, encode or decode' tokenizer
refuses "did you mean 'encode'" tokenizer encod
refuses 'no files' tokenizer train --out x.json
refuses "--out" tokenizer train a.txt
refuses 'no-such.txt' tokenizer train --out x.json no-such.txt
refuses 'special token' tokenizer train --out x.json --special a a.txt
refuses 'expected 258' tokenizer train --vocab 257 --special '<a>,<b>' --out x.json a.txt
[ ! -e x.json ] || fail "x.json was written"
refuses '--tokenizer' tokenizer encode
refuses 'no-such.json' tokenizer encode --tokenizer no-such.json
refuses 'not a tokenizer' tokenizer encode --tokenizer a.txt
refuses 'has no begin token' tokenizer encode --tokenizer "$golden/tokenizers/chars.json" --bos
refuses 'expected one file' tokenizer encode --tokenizer t.json a.txt b.jsonl
check 2 tokenizer encode --tokenizer t.json < <(printf '{"text": "one"}\n{"txt": "two"}\n')
err_has 'line 2: "text" is missing'; err_one_line; out_has '{"ids":['
refuses 'line 1' tokenizer encode --tokenizer t.json <<<'{"text": 5}'
refuses 'line 1' tokenizer encode --tokenizer t.json <<<'nonsense'
refuses '[0, 280)' tokenizer decode --tokenizer t.json <<<'{"ids": [1, 300]}'
refuses 'line 1' tokenizer decode --tokenizer t.json <<<'{"ids": "1"}'
exit $bad
