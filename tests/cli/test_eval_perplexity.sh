#!/bin/bash
# mdm eval --tasks perplexity: documents to chunks to numbers, by file and by month, of both families.
. tests/cli/common.sh "$1"

tokenizer="--tokenizer $golden/tokenizers/llama.json --precision f32 --threads 1"
mdm_model="--weights $golden/loglik/mdm $tokenizer"
arm_model="--weights $golden/loglik/llama $tokenizer"
mkdir -p data/perplexity
first='The king said that he would go away, and the house was near the sea.' second='She went to the house to see the king, who said no.'
printf '{"text": "%s", "date": "2024-03-09T10:11:12Z", "n": 1709251200}\n{"content": "%s", "date": "2024-02-28", "n": 1706745600000}\n' "$first" "$second" >data/perplexity/a.jsonl
printf '%s\n\n%s\n' "$second" "$first" >data/perplexity/plain.txt

# An autoregressive model: exactly, all tokens of a chunk but the first.
# shellcheck disable=SC2086
check 0 eval $arm_model --data data --out arm --tasks perplexity
out_has '| - a            |    1.0|none  |     0|perplexity|'
out_has '| - plain        |    1.0|none  |     0|perplexity|'
grep -q mask_error out && fail "an autoregressive model draws no masks"
"$mdm" tokenizer encode --tokenizer "$golden/tokenizers/llama.json" >ids < <(printf '{"text": "%s"}\n{"text": "%s"}\n' "$first" "$second") 2>err
all=$(sed -E 's/.*\[(.*)\].*/1,\1/' ids | paste -sd,) # each behind the begin id, which is 1
chunk() { echo "$all" | tr , '\n' | sed -n "$1p" | paste -sd,; }
echo "{\"prefix\": [$(chunk 1)], \"target\": [$(chunk 2,48)]}
{\"prefix\": [$(chunk 49)], \"target\": [$(chunk '50,$')]}" >questions
# shellcheck disable=SC2086
check 0 score $arm_model questions
awk -F'[][]+' '/"group":"a"/ { for (i = 1; i < NF; i++) if ($i ~ /"resps":$/) { print $(i + 1); break } }' arm/samples_perplexity.jsonl >got
sed -E 's/.*"nll": ([^,]*), "tokens": ([0-9]*).*/\1 \2/' out >want
[ "$(wc -l <got)" -eq 2 ] || fail "chunks: $(cat arm/samples_perplexity.jsonl)"
paste got want | awk '{ d = ($1 + $2) / $2; if (d > 1e-6 || d < -1e-6) exit 1 }' || fail "other losses than mdm score: $(paste got want)"
value=$(awk '{ n += $1; t += $2 } END { printf "%.4f", exp(n / t) }' want)
grep -q "| - a  .*|perplexity|↓  |  *$value|" <("$mdm" eval --rescore arm) || fail "perplexity is not $value: $("$mdm" eval --rescore arm)"

grep -q '"original": [1-9]' arm/results.json || fail "n-samples: $(cat arm/results.json)"

# Two that would be one group, or a name that results cannot hold, are known before anything is computed; months do not mind.
clash() { # NAME TEXT: a file of that name beside the others
    rm -rf clash && cp -r data clash && mkdir -p "clash/perplexity/$(dirname "$1")" && cp data/perplexity/a.jsonl "clash/perplexity/$1"
    # shellcheck disable=SC2086
    refuses "$2" eval $arm_model --data clash --out clash/out --tasks perplexity
    [ ! -s clash/out/samples_perplexity.jsonl ] || fail "$1: it was refused after the computation"
}
clash a.json "clash/perplexity/a.json and clash/perplexity/a.jsonl: the results of both would be called 'a': rename one of them"
clash a/b.jsonl "the results of both would be called 'a'"
long=$(printf 'l%.0s' {1..128})
clash $'caf\xe9.jsonl' "its results are called by its name, which is not UTF-8: rename it"
clash "$long/x.jsonl" "$long/x.jsonl: its results are called 'llllllllllllllllllll…', a name of 128 bytes: rename it to at most 127"
clash "$long.jsonl" "$long.jsonl: its results are called"
rm clash/perplexity/plain.txt
# shellcheck disable=SC2086
check 0 eval $arm_model --data clash --out clash/months --tasks perplexity --by-month date
mkdir -p longest/perplexity/pair && cp data/perplexity/a.jsonl "longest/perplexity/${long#l}.jsonl" && cp data/perplexity/* longest/perplexity/pair && cp data/perplexity/a.jsonl longest/perplexity/pair/a.json
# shellcheck disable=SC2086
check 0 eval $arm_model --data longest --out longest/out --tasks perplexity
out_has "| - ${long#l}|"
out_has '| - pair '
out_has "|$(printf '%130s' '' | tr ' ' -)|------:|"

# A part and the rest; other settings are refused. The limit is of each group.
# shellcheck disable=SC2086
check 0 eval $arm_model --data data --out torn --tasks perplexity
head -n 1 torn/samples_perplexity.jsonl >one && printf '{"doc' >>one && cp one torn/samples_perplexity.jsonl
# shellcheck disable=SC2086
check 0 eval $arm_model --data data --out torn --tasks perplexity
for f in samples_perplexity.jsonl results.json; do cmp -s arm/$f torn/$f || fail "$f differs from that of one go"; done
# shellcheck disable=SC2086
check 0 eval $arm_model --data data --out limited --tasks perplexity --limit 1 --length 16
[ "$(grep -c '"group":"a"' limited/samples_perplexity.jsonl)" -eq 1 ] && [ "$(grep -c '"group":"plain"' limited/samples_perplexity.jsonl)" -eq 1 ] &&
    grep -q '"tokens":15' limited/samples_perplexity.jsonl || fail "--limit, --length: $(cat limited/samples_perplexity.jsonl)"
# How many chunks there are is known where the limit cut nothing off. All of them together have a perplexity too.
compact() { tr -d ' \n' <"$1/results.json"; }
compact limited | grep -qF '"n-samples":{"perplexity":{"original":null,"effective":2,"skipped":0},"perplexity_a":{"original":null,"effective":1}' || fail "n-samples: $(cat limited/results.json)"
a=$(grep -c '"group":"a"' arm/samples_perplexity.jsonl) both=$(grep -c . arm/samples_perplexity.jsonl)
compact arm | grep -qF "\"perplexity\":{\"original\":$both,\"effective\":$both,\"skipped\":0},\"perplexity_a\":{\"original\":$a,\"effective\":$a}" || fail "n-samples: $(cat arm/results.json)"
sed -E 's/.*"tokens":([0-9]*).*"filtered_resps":\[([^]]*)\].*/\1 \2/' arm/samples_perplexity.jsonl | awk '{ t += $1; n += $2 } END { printf "|perplexity|1.0|none|0|perplexity|↓|%.4f|\n", exp(-n / t) }' >pooled
check 0 eval --rescore arm
row "$(cat pooled)"
# The only group's numbers are the task's.
mkdir -p single/perplexity && cp data/perplexity/a.jsonl single/perplexity
# shellcheck disable=SC2086
check 0 eval $arm_model --data single --out single --tasks perplexity
[ "$(compact single | grep -oE '"perplexity(,none|_stderr,none)":[^,}]*' | sort | uniq -c | grep -c ' 2 ')" -eq 2 ] || fail "one group: $(cat single/results.json)"
# shellcheck disable=SC2086
refuses 'perplexity was begun with "limit": 1, this is 2' eval $arm_model --data data --out limited --tasks perplexity --limit 2 --length 16

# Months, in their order, of a date or a number; without a begin id the end id stands behind a document.
mkdir -p months/perplexity && cp data/perplexity/a.jsonl months/perplexity
for field in date n; do
    # shellcheck disable=SC2086
    check 0 eval $arm_model --data months --out "by-$field" --tasks perplexity --by-month $field
    grep -o '^| - [^|]*' out | tr -d ' \n' | grep -qx '|-2024-02|-2024-03' || fail "months of $field: $(cat out)"
done
cmp -s by-date/samples_perplexity.jsonl by-n/samples_perplexity.jsonl || fail "a month is another by its number"
# shellcheck disable=SC2086
check 0 eval $arm_model --data months --out nobos --tasks perplexity --bos no
cmp -s <(grep '"group":"a"' arm/samples_perplexity.jsonl) nobos/samples_perplexity.jsonl && fail "--bos no changes nothing"
echo '{"text": "No date."}' >>months/perplexity/a.jsonl
# shellcheck disable=SC2086
refuses "a.jsonl line 3: field 'date': expected a date as 2024-03-31, 20240331 or 202403, or a time since 1970 as a number, found none" \
    eval $arm_model --data months --out bad --tasks perplexity --by-month date
# shellcheck disable=SC2086
check 0 eval $arm_model --data months --out bad --tasks perplexity --by-month date --keep-going
err_has 'perplexity: 1 bad item was left out'

# Samples that somebody has broken are named by line.
cp -r arm spoilt && sed -i '2s/"tokens":[0-9]*/"tokens":0/' spoilt/samples_perplexity.jsonl
refuses 'spoilt/samples_perplexity.jsonl line 2: "tokens" must be' eval --rescore spoilt
cp -r arm spoilt2 && sed -E -i '1s/"filtered_resps":\[[^]]*/"filtered_resps":[true/' spoilt2/samples_perplexity.jsonl
refuses 'spoilt2/samples_perplexity.jsonl line 1: "filtered_resps": expected a list of numbers' eval --rescore spoilt2

# A document of plain text that is none is left out when asked.
mkdir -p damaged/perplexity && printf 'One \xff.\n\n%s\n' "$first" >damaged/perplexity/a.txt
# shellcheck disable=SC2086
refuses 'a.txt document 1: not UTF-8' eval $arm_model --data damaged --out damaged/out --tasks perplexity
# shellcheck disable=SC2086
check 0 eval $arm_model --data damaged --out damaged/out --tasks perplexity --keep-going
grep -q '"skipped": 1' damaged/out/results.json || fail "a damaged document: $(cat damaged/out/results.json)"
printf 'One \xff.\n\nTwo \xff.\n' >damaged/perplexity/a.txt
# shellcheck disable=SC2086
refuses 'perplexity: nothing could be evaluated: 2 items left out, the first: damaged/perplexity/a.txt document 1: not UTF-8' eval $arm_model --data damaged --out damaged/none --tasks perplexity --keep-going

# Masked diffusion: draws as in training, whose error follows from the draws and falls with their root.
few="--tasks perplexity --length 24 --seed 5"
# shellcheck disable=SC2086
check 0 eval $mdm_model --data data --out few $few --mc 64
# shellcheck disable=SC2086
check 0 eval $mdm_model --data data --out many $few --mc 4096
number() { awk -v key="\"$2,none\"" '/"perplexity_a"/ { on = 1 } on && index($0, key) { gsub(/[",]/, "", $2); print $2; exit }' "$1/results.json"; }
awk -v a="$(number few perplexity)" -v b="$(number many perplexity)" -v ea="$(number few mask_error)" -v eb="$(number many mask_error)" 'BEGIN {
    d = a - b; e = sqrt(ea * ea + eb * eb); r = (ea / a) / (eb / b); exit !(d < 4 * e && -d < 4 * e && r > 3 && r < 20) }' ||
    fail "draws: $(number few perplexity) ± $(number few mask_error), $(number many perplexity) ± $(number many mask_error)"
grep '"group":"a"' few/samples_perplexity.jsonl | sed -E 's/.*"tokens":([0-9]*).*"filtered_resps":\[([^]]*)\].*/\1 \2/' | tr , ' ' | awk -v got="$(number few mask_error)" '{
    n = NF - 1; s = v = 0
    for (i = 2; i <= NF; i++) s += $i / n
    for (i = 2; i <= NF; i++) v += ($i - s) ^ 2 / (n - 1) / n
    sum += s; variance += v; tokens += $1
} END { want = exp(-sum / tokens) * sqrt(variance) / tokens; exit !(n == 8 && want / got < 1.0001 && got / want < 1.0001) }' ||
    fail "mask_error does not follow from the draws: $(number few mask_error)"
grep -q '"tokens":24' few/samples_perplexity.jsonl || fail "mdm predicts every token: $(cat few/samples_perplexity.jsonl)"
grep -q '"mc": 64' few/eval.json || fail "settings: $(cat few/eval.json)"
# Twelve draws make as many groups, eight or a multiple of it eight.
# shellcheck disable=SC2086
check 0 eval $mdm_model --data data --out twelve $few --mc 12
head -n 1 twelve/samples_perplexity.jsonl | sed 's/.*"filtered_resps"//' | tr , '\n' | grep -c '^\[*[:-]' | grep -qx 12 || fail "12 draws: $(head -n 1 twelve/samples_perplexity.jsonl)"

# Ctrl-C: how many chunks there are is not known yet.
mkdir -p endless/perplexity && yes "{\"text\": \"$first\"}" | head -n 2000 >endless/perplexity/a.jsonl
# shellcheck disable=SC2086
(trap - INT; exec "$mdm" eval $mdm_model --data endless --out stopped $few --mc 4096) >out 2>err &
for _ in $(seq 6000); do [ -s stopped/samples_perplexity.jsonl ] && break; sleep 0.01; done
kill -INT $!; wait $!
[ $? -eq 130 ] || fail "Ctrl-C: another status"
grep -q '"original": null' stopped/results.json && grep -q '"effective": [1-9]' stopped/results.json || fail "n-samples after a stop: $(cat stopped/results.json)"
out_has "perplexity: $(grep -c . stopped/samples_perplexity.jsonl) items, not finished"

# shellcheck disable=SC2086
refuses '--length 97: chunks must have 2 to 96 tokens' eval $mdm_model --data data --out x --tasks perplexity --length 97
cp -r "$golden/tasks/lines/piqa" data/
# shellcheck disable=SC2086
refuses '--length 97: chunks must have 2 to 96 tokens' eval $mdm_model --data data --out x --tasks piqa,perplexity --length 97
[ ! -e x ] || fail "settings that do not suit the last task are known when the first is done"
echo '{"name": "x"}' >months/perplexity/a.jsonl
# shellcheck disable=SC2086
refuses "a.jsonl line 1: field 'text' is missing: name the text's field with --text-field" eval $mdm_model --data months --out x --tasks perplexity
# shellcheck disable=SC2086
check 0 eval $arm_model --data months --out named --tasks perplexity --text-field name
: >months/perplexity/a.jsonl
# shellcheck disable=SC2086
refuses "a.jsonl: no text in it" eval $mdm_model --data months --out y --tasks perplexity
exit $bad
