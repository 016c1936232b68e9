#!/bin/bash
# mdm score: golden likelihoods through the command line, order and form of the lines, text questions, refusals.
. tests/cli/common.sh "$1"
score() { # STATUS INPUT OPTIONS...
    printf '%b' "$2" >in
    check "$1" score --threads 1 "${@:3}" <in
}
refuses_input() { # TEXT INPUT OPTIONS...
    printf '%b' "$2" >in
    refuses "$1" score "${@:3}" <in
}
field() { sed -n "$1p" out | sed "s/.*\"$2\": \([^,}]*\).*/\1/"; } # LINE KEY
near() { awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; exit !(d < 1e-4 && d > -1e-4) }' || fail "$last: $1 is not near $2"; }
question() { printf '{"prefix": [%s], "target": [%s]}\\n' "$(array "$1" prefix "$2")" "$(array "$1" target "$2")"; }

for model in mdm-mha mdm-gqa mdm-odd; do
    for n in 1 2 3 4; do # the five samples have a cfg_scale too
        score 0 "$(question $model $n)" --weights "$golden/$model" --precision f32 --likelihood chain --cfg "$(number $model cfg_scale $((n + 5)))"
        near "$(field 1 nll)" "$(number $model nll_chain $n)"
    done
done
for model in arm-mha arm-gqa; do
    score 0 "$(question $model 1)$(question $model 2)\n$(question $model 3)" --weights "$golden/$model" --precision f32
    [ "$(wc -l <out)" -eq 3 ] || fail "$last: expected three lines"
    for n in 1 2 3; do
        near "$(field $n nll)" "$(number $model nll $n)"
        [ "$(field $n is_greedy)" = "$(number $model is_greedy $n)" ] || fail "$last: is_greedy of line $n"
        [ "$(field $n tokens)" -eq "$(array $model target $n | tr , '\n' | grep -c .)" ] || fail "$last: tokens of line $n"
    done
done

# The same numbers for the same seed, whatever else is asked; is_greedy of an mdm on request only.
two="$(question mdm-mha 1)$(question mdm-mha 2)"
weights=(--weights "$golden/mdm-mha" --precision f32 --mc 64)
score 0 "$two" "${weights[@]}"; cp out first
! grep -q is_greedy out || fail "$last: is_greedy was not asked for"
score 0 "$two" "${weights[@]}" --threads 2; cmp -s out first || fail "$last: depends on threads"
score 0 "$two" "${weights[@]}" --seed 2; ! cmp -s out first || fail "$last: the seed changes nothing"
score 0 "$two" "${weights[@]}" --greedy; [ "$(grep -c '"is_greedy": false' out)" -eq 2 ] || fail "$last: no is_greedy"
score 0 "$two" "${weights[@]}" --pad 40; ! cmp -s out first || fail "$last: --pad changes nothing"
printf '%b' "$two" >questions.jsonl
score 0 '' "${weights[@]}" questions.jsonl; cmp -s out first || fail "$last: a file differs from stdin"
check 0 score --threads 1 "${weights[@]}" <(cat questions.jsonl); cmp -s out first || fail "$last: a pipe by name differs from stdin"
score 0 '' "${weights[@]}"; [ ! -s out ] || fail "$last: no questions, no answers"

# Text: the space at the end of the context belongs to the continuation.
cp -r "$golden/arm-mha" arm && chmod -R u+w arm
cat >arm/tokenizer.json <<'END'
{"version": "1.0", "added_tokens": [], "normalizer": null,
 "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
 "post_processor": null, "decoder": {"type": "ByteLevel"},
 "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
  "fuse_unk": false, "byte_fallback": false, "vocab": {"a": 0, "b": 1, "c": 2, "\u0120": 3, "\u0120a": 4, "\u0120ab": 5},
  "merges": ["\u0120 a", "\u0120a b"]}}
END
score 0 '{"prefix": [2, 1], "target": [5, 2]}\n{"context": "cb", "continuation": " abc"}\n{"context": "cb ", "continuation": "abc"}\n' \
    --weights arm --precision f32
[ "$(sort -u out | wc -l)" -eq 1 ] || fail "$last: three ways to ask the same"
[ "$(field 3 tokens)" -eq 2 ] || fail "$last: two tokens expected"

# A bad line names its file and line, however far behind it stands; what was asked before it is answered.
q='{"prefix": [3], "target": [4]}'
for ((i = 1; i <= 300; i++)); do echo "$q"; done >many.jsonl
echo '{"prefix": [3], "target": [4, 100]}' >>many.jsonl
echo "$q" >>many.jsonl
refuses 'many.jsonl line 301: ' score --threads 1 --weights arm many.jsonl
[ "$(wc -l <out)" -eq 300 ] || fail "$last: 300 answers expected before the bad line"
sed -i 's/\[4, 100\]/[]/' many.jsonl
refuses 'many.jsonl line 301: the target is empty' score --threads 1 --weights arm many.jsonl

# --keep-going: an error object in its place, and the numbers of the others are what they were.
printf '%s\n' "$q" nonsense "$q" '{"prefix": [3]}' '{"prefix": [3], "target": []}' "$q" >bad.jsonl
check 0 score --threads 1 --weights "$golden/mdm-mha" --mc 32 --keep-going bad.jsonl
[ "$(grep -c '^{"error": "bad.jsonl line [245]: ' out)" -eq 3 ] && [ "$(wc -l <out)" -eq 6 ] || fail "$last: three errors of six expected"
err_has '6 items, 3 of them with an error'
cp out kept
score 0 "$q\n$q\n$q\n$q\n$q\n$q\n" --weights "$golden/mdm-mha" --mc 32
for n in 1 3 6; do [ "$(sed -n ${n}p out)" = "$(sed -n ${n}p kept)" ] || fail "$last: bad lines change the numbers of line $n"; done

# A conversation: each question is answered before the next is asked.
coproc talk { "$mdm" score --threads 1 --weights arm 2>/dev/null; }
for ((i = 0; i < 3; i++)); do
    echo "$q" >&"${talk[1]}"
    read -r -t 60 answer <&"${talk[0]}" || { fail "no answer to question $i while the input pauses"; break; }
    [[ $answer == '{"nll": '*'}' ]] || fail "the answer to question $i is '$answer'"
done
exec {talk[1]}>&-
wait

ends_on_full_disk "$q" score --threads 1 --weights arm
ends_on_full_disk nonsense score --threads 1 --weights arm --keep-going

# Models that give no numbers: still JSON.
for model in mdm-mha arm-mha; do
    rm -rf nan && cp -r "$golden/$model" nan && chmod -R u+w nan
    size=$(wc -c <nan/model.safetensors)
    head -c $((size / 2)) /dev/zero | tr '\0' '\377' | dd of=nan/model.safetensors bs=4096 seek=$((size / 2)) oflag=seek_bytes conv=notrunc 2>dd.err
    [ $model = arm-mha ] || score 0 '{"prefix": [3], "target": [0]}\n' --weights nan --likelihood chain --greedy
    [ $model = arm-mha ] || out_has '{"nll": null, "tokens": 1, "is_greedy": false}'
done
check 2 generate --weights nan --prompt-ids 1,2 --output ids
err_has "sample 1 of those asked for: the model gives no token a number (NaN)"
score 0 '{"prefix": [3], "target": [0]}\n' --weights nan
out_has '{"nll": null, "tokens": 1, "is_greedy": false}'
score 0 "$q" --weights nan
out_has '{"nll": null, "tokens": 1, "is_greedy": false}'
err_has '1 item in '; err_has ', 1 forward'
score 0 "$q" --weights arm --quiet; err_empty
check 0 score --help; out_has '"context" and "continuation"'; out_has '"prefix" and "target"' # in docs/formats.md too

# An MDM needs no prefix.
echo '{"prefix": [], "target": [3]}' >empty.jsonl
check 0 score --weights "$golden/mdm-mha" --likelihood chain empty.jsonl; out_has '"nll"'

refuses_input 'line 2' '{"prefix": [3], "target": [4]}\n{"prefix": [3], "target": [4, 100]}\n' --weights arm
refuses_input 'line 1' 'nonsense\n' --weights arm
refuses_input 'expected an object' '[1]\n' --weights arm
refuses_input '"prefix" and "target"' '{"text": "a"}\n' --weights arm
refuses_input 'target' '{"prefix": [3]}\n' --weights arm
refuses_input 'the target is empty' '{"prefix": [3], "target": []}\n' --weights arm
refuses_input 'the prefix is empty' '{"prefix": [], "target": [3]}\n' --weights arm
refuses_input 'cannot write' '{"prefix": [3], "target": [40]}\n' --weights "$golden/mdm-mha"
refuses_input 'block_size' "{\"prefix\": [$(yes 3 | head -200 | paste -sd,)], \"target\": [3]}\n" --weights arm
refuses_input 'needs a tokenizer' '{"context": "a", "continuation": "b"}\n' --weights "$golden/mdm-mha"
refuses_input 'multiple' '{"prefix": [3], "target": [4]}\n' --weights "$golden/mdm-mha" --mc 10 --batch 4
refuses_input '--pad 65: the model'"'"'s longest sequence (block_size) is 64' '' --weights "$golden/mdm-mha" --pad 65
refuses_input 'both ids' '{"prefix": [3], "target": [4], "context": "a"}\n' --weights arm
for option in '--mc 8' '--batch 8'; do
    # shellcheck disable=SC2086
    refuses_input 'the chain rule draws nothing' '' --weights "$golden/mdm-mha" --likelihood chain $option
done
# What cuts a file off in the middle ends the command: it is not one more bad item.
{ echo "$q"; echo "$q"; echo "$q"; } | gzip | head -c -9 >cut.jsonl.gz
refuses 'cut short' score --threads 1 --weights arm --keep-going cut.jsonl.gz
! grep -q error out || fail "$last: the end of what can be read is no item"
for option in '--cfg 1' '--likelihood chain' '--mc 8' '--batch 8' '--pad 9'; do
    # shellcheck disable=SC2086
    refuses_input "${option% *} is for models of family mdm" '' --weights arm $option
done
refuses_input 'mdm' '' --weights arm --family mdm
refuses_input 'expected one file' '' --weights arm a b
refuses_input 'nowhere.jsonl' '' --weights arm nowhere.jsonl
# On a terminal, work of more than two seconds has a bar.
for i in $(seq 60); do echo "{\"prefix\": [3], \"target\": [$(seq 2 39 | paste -sd,)]}"; done >long.jsonl
script -qefc "stty cols 100; exec '$mdm' score --weights '$golden/mdm-mha' --mc 16384 --threads 1 long.jsonl >/dev/null" screen >/dev/null & pid=$!
for try in $(seq 300); do grep -q 'score \[[# ]*\] [0-9]*/60 items, .* left' screen 2>/dev/null && break; sleep 0.1; done
pkill -TERM -P $pid; wait $pid
[ "$try" -lt 300 ] || fail "score draws no bar: $(cat screen)"
exit $bad
