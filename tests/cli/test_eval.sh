#!/bin/bash
# mdm eval: from task files to results.json; goes on after a stop, refuses other settings, leaves out bad items when asked.
. tests/cli/common.sh "$1"

cp -r "$golden/tasks/lines" data
llama="--weights $golden/loglik/llama --tokenizer $golden/tokenizers/llama.json --precision f32 --threads 1"
# shellcheck disable=SC2086
check 0 eval $llama --data data --out whole --tasks piqa,lambada_standard,boolq
for task in piqa lambada_standard boolq; do out_has "|$task"; [ -s "whole/samples_$task.jsonl" ] || fail "no samples of $task"; done
# A tokenizer that is not the model's: other texts than those of its own, more ids than it has rows. Another form of its own is.
cp -r "$golden/loglik/llama" own && chmod -R u+w own && cp "$golden/tokenizers/llama.json" own/tokenizer.json
check 0 tokenizer train --vocab 300 --out other.json data/lambada_standard/*
refuses "tokenizer other.json: not the one that is in own/" eval --weights own --tokenizer other.json --data data --out x --tasks piqa
cat data/*/* >words.txt && tr a-z b-za <words.txt >shifted.txt
check 0 tokenizer train --vocab 400 --out own/tokenizer.json words.txt
check 0 tokenizer train --vocab 400 --out other.json shifted.txt
refuses "tokenizer other.json: not the one that is in own/" eval --weights own --tokenizer other.json --data data --out x --tasks piqa # of as many tokens
check 0 tokenizer train --vocab 264 --out other.json words.txt
refuses "tokenizer other.json: not the one that is in own/" eval --weights own --tokenizer other.json --data data --out x --tasks piqa # its beginning
check 0 tokenizer train --vocab 264 --out own/tokenizer.json shifted.txt
refuses "tokenizer other.json: not the one that is in own/" eval --weights own --tokenizer other.json --data data --out x --tasks piqa # few but bytes
cp "$golden/tokenizers/llama.json" own/tokenizer.json
check 0 eval --weights own --tokenizer "$golden/tokenizers/llama.model" --data data --out form --tasks piqa --limit 1 --quiet
refuses "llama.json: begins and ends texts with ids 1 and 2, $golden/loglik/gpt2 is of a model that has 0 and 0" eval --weights "$golden/loglik/gpt2" \
    --tokenizer "$golden/tokenizers/llama.json" --data data --out x --tasks piqa
refuses "mdm-odd has a vocabulary of 37, the tokenizer one of 424: they do not belong together" eval --weights "$golden/mdm-odd" --tokenizer "$golden/tokenizers/llama.json" --data data --out x --tasks piqa
for key in '"acc,none"' '"acc_stderr,none"' '"acc_norm,none"' '"perplexity,none"' '"versions"' '"n-samples"' '"higher_is_better"' '"config"'; do
    grep -qF "$key" whole/results.json || fail "results.json lacks $key"
done
for key in doc_id doc target arguments resps filtered_resps acc acc_norm; do
    grep -qF "\"$key\":" whole/samples_piqa.jsonl || fail "a sample lacks $key: $(cat whole/samples_piqa.jsonl)"
done

# Metrics follow from the samples: the likeliest choice is right in the first item alone.
edit() { sed -E "1s/(\"filtered_resps\":)[^}]*\]\]/\1[[-1.0,false],[-30.0,false]]/; 2s/(\"filtered_resps\":)[^}]*\]\]/\1[[-1.5,false],[-2.0,false]]/" "$1"; }
cp -r whole edited; edit whole/samples_piqa.jsonl >edited/samples_piqa.jsonl
check 0 eval --rescore edited
row '|piqa|1.0|none|0|acc|↑|0.5000|±|0.5000|'
row '||none|0|acc_norm|↑|1.0000|±|0.0000|'
grep -q '"acc,none": 0.5,' edited/results.json || fail "rescored: $(cat edited/results.json)"
# Of choices that are as likely the first is taken.
sed -E '1s/("filtered_resps":)[^}]*\]\]/\1[[-1.0,false],[-1.0,false]]/' edited/samples_piqa.jsonl >tied && cp tied edited/samples_piqa.jsonl
check 0 eval --rescore edited
row '|piqa|1.0|none|0|acc|↑|0.5000|±|0.5000|'
# 16 of 50 are 0.32 to the last bit, as in the harness.
for i in $(seq 0 49); do sed -n "$((i < 16 ? 1 : 2))p" edited/samples_piqa.jsonl | sed "s/\"doc_id\":[0-9]*/\"doc_id\":$i/"; done >fifty
cp -r edited many; cp fifty many/samples_piqa.jsonl
check 0 eval --rescore many
grep -q '"acc,none": 0.32000000000000001,' many/results.json || fail "16 of 50: $(cat many/results.json)"
# Choices are as long as their code points: three of two bytes each are shorter than four letters.
cp -r edited points
head -n 1 whole/samples_piqa.jsonl | sed -E 's/ turn its lid/ abcd/; s/ turn \\"its\\" [^"]*"/ ééé"/; s/("filtered_resps":)[^}]*\]\]/\1[[-6.0,false],[-5.0,false]]/' >points/samples_piqa.jsonl
grep -q '" abcd".*" ééé"' points/samples_piqa.jsonl || fail "the choices are not in their place: $(cat points/samples_piqa.jsonl)"
check 0 eval --rescore points
row '|piqa|1.0|none|0|acc|↑|0.0000|'
row '||none|0|acc_norm|↑|1.0000|'
# Perplexity is exp of the mean loss of a last word: e for losses of 1.
sed -E -i 's/("filtered_resps":)\[\[[^]]*\]\]/\1[[-1.0,true]]/' edited/samples_lambada_standard.jsonl
check 0 eval --rescore edited
out_has '|                |       |none  |     0|perplexity|↓  |   2.7183|±  | 0.0000|'
# Columns are as wide as what is longest in them: here a perplexity.
check 0 eval --rescore whole
out_has '|     Tasks      |Version|Filter|n-shot|  Metric  |   |    Value     |   |   Stderr    |'
out_has '|----------------|------:|------|-----:|----------|---|-------------:|---|------------:|'
[ "$(grep '^|' out | tr -dc '|\n' | sort -u)" = '||||||||||' ] && [ "$(grep '^|' out | while read -r line; do echo ${#line}; done | sort -u | wc -l)" -eq 1 ] || fail "a table of crooked columns"

# A part, a torn line of a kill -9, the rest: the same bytes as at once.
# shellcheck disable=SC2086
check 0 eval $llama --data data --out parts --tasks piqa,boolq,lambada_standard --limit 1
grep -q '"effective": 1' parts/results.json || fail "--limit: $(cat parts/results.json)"
out_has 'boolq: 1 of 2 items'
grep -q 'finished' out parts/results.json && fail "all that --limit wants is there: $(cat parts/results.json)"
head -c 60 whole/samples_boolq.jsonl | tail -c 40 >>parts/samples_boolq.jsonl
# shellcheck disable=SC2086
check 0 eval $llama --data data --out parts --tasks piqa,boolq,lambada_standard
for f in samples_piqa.jsonl samples_boolq.jsonl samples_lambada_standard.jsonl results.json; do
    cmp -s whole/$f parts/$f || fail "$f differs from that of one go"
done
grep -q items out && fail "all is there"
# A kill -9 between the last answer and the end.
cp -r whole between; sed -i 's/"items": 3/&, "unfinished": true/' between/eval.json
check 0 eval --rescore between
out_has 'lambada_standard: 3 of 3 items, not finished'
# Which limit an older version left unfinished nobody knows: it goes with the next run's end.
# shellcheck disable=SC2086
check 0 eval $llama --data data --out between --tasks lambada_standard --limit 1
grep -q unfinished between/eval.json && fail "an older version's mark stays: $(cat between/eval.json)"
# What was wanted once is wanted until it is there, however little a later run wants, and whether anything was answered.
# shellcheck disable=SC2086
check 0 eval $llama --data data --out wanted --tasks lambada_standard --limit 1
sed -i 's/"items": 3/&, "unfinished": 2/' wanted/eval.json; : >wanted/samples_lambada_standard.jsonl
for part in '1 of 3 items, not finished (--limit 2)' '2 of 3 items'; do
    # shellcheck disable=SC2086
    check 0 eval $llama --data data --out wanted --tasks lambada_standard --limit "${part%% *}"
    grep -qxF "lambada_standard: $part" out || fail "--limit ${part%% *}: expected $part"
done
grep -q unfinished wanted/*.json && fail "all that was wanted is there: $(cat wanted/*.json)"

# Samples that are gone: their numbers stay, until they are there again, or are asked again.
cp -r whole gone; rm gone/samples_piqa.jsonl
refuses 'gone/samples_piqa.jsonl is gone, and with it the results of piqa: bring it back, or ask it again with --tasks piqa' eval --rescore gone
# shellcheck disable=SC2086
refuses 'gone/samples_piqa.jsonl is gone' eval $llama --data data --out gone --tasks boolq
cmp -s whole/results.json gone/results.json && cmp -s whole/eval.json gone/eval.json || fail "results of what is gone were overwritten"
# shellcheck disable=SC2086
check 0 eval $llama --data data --out gone --tasks boolq,piqa
cmp -s whole/results.json gone/results.json && cmp -s whole/samples_piqa.jsonl gone/samples_piqa.jsonl || fail "what was gone is not as it was"
# A rescoring takes all samples of a folder and nothing else.
refuses '--tasks: --rescore asks nothing, it takes all samples of its folder; leave it out' eval --rescore whole --tasks piqa
refuses '--limit: --rescore' eval --limit 2 --rescore whole
refuses '--out: --rescore' eval --rescore whole --out whole
# shellcheck disable=SC2086
refuses '--out is missing' eval $llama --data data
check 0 eval --rescore whole --quiet

# A masked diffusion model: published settings by default, its draws do not depend on where an item stands.
mdm_model="--weights $golden/loglik/mdm --tokenizer $golden/tokenizers/llama.json --precision f32 --threads 1"
# shellcheck disable=SC2086
check 0 eval $mdm_model --data data --out diffusion --tasks piqa,arc_easy --mc 32
grep -q '"cfg": 0.5999999' diffusion/eval.json && grep -q '"likelihood": "chain"' diffusion/eval.json && grep -q '"mc": 32' diffusion/eval.json ||
    fail "published settings: $(cat diffusion/eval.json)"
# shellcheck disable=SC2086
refuses 'arc_easy was begun with "mc": 32, this is 64; use another --out' eval $mdm_model --data data --out diffusion --tasks arc_easy --mc 64
# shellcheck disable=SC2086
refuses 'piqa was begun with "cfg": 0.6, this is 1.5; use another --out' eval $mdm_model --data data --out diffusion --tasks piqa --cfg 1.5
# shellcheck disable=SC2086
refuses 'was begun with "family": "mdm", this is "arm"' eval $llama --data data --out diffusion --tasks piqa
# Ctrl-C while the last item is answered: nothing is left to be done.
# shellcheck disable=SC2086
(trap - INT; exec "$mdm" eval $mdm_model --data data --out last --tasks piqa --likelihood mc --mc 8192 --limit 1) >out 2>err &
for _ in $(seq 6000); do grep -qs unfinished last/eval.json && break; sleep 0.01; done
sleep 0.1
kill -INT $! || fail "Ctrl-C came too late to be seen"
wait $! || fail "Ctrl-C in the last batch: status $?"
grep -q stopped err && fail "Ctrl-C in the last batch: stopped"
out_has '|piqa '
# A kill -9 while the first batch is answered: what is there is said to be a part, whether it is nothing or what an earlier run wanted.
for case in 'last 1 8192' 'fresh 0 10000000'; do
    read -r out have mc <<<"$case"
    # shellcheck disable=SC2086
    "$mdm" eval $mdm_model --data data --out "$out" --tasks piqa --likelihood mc --mc "$mc" >out 2>err &
    for _ in $(seq 6000); do grep -qs unfinished "$out/eval.json" && break; sleep 0.01; done
    kill -KILL $!; wait $! 2>>err
    check 0 eval --rescore "$out"
    out_has "piqa: $have of 2 items, not finished"
    grep -q "\"effective\": $have" "$out/results.json" && grep -q '"unfinished": true' "$out/results.json" || fail "$out/results.json: $(cat "$out/results.json")"
done
# A run that wants less forgets nothing of it; one that wants more has more to do.
# shellcheck disable=SC2086
check 0 eval $mdm_model --data data --out last --tasks piqa --likelihood mc --mc 8192 --limit 1
grep -qx 'piqa: 1 of 2 items, not finished' out || fail "two items were wanted: $(cat last/eval.json)"
for limit in 1 0; do
    # shellcheck disable=SC2086
    "$mdm" eval $mdm_model --data data --out more --tasks piqa --likelihood mc --mc 10000000 --limit $limit >out 2>err &
    for _ in $(seq 6000); do grep -qs "unfinished\": $limit" more/eval.json && break; sleep 0.01; done
    kill -KILL $!; wait $! 2>>err
    grep -q "unfinished\": $limit" more/eval.json || fail "--limit $limit is not wanted: $(cat more/eval.json)"
done
echo ' ' >>data/piqa/piqa.jsonl; echo '{"goal": "a", "sol1": "b", "sol2": "c", "label": 0}' >>data/piqa/piqa.jsonl
# shellcheck disable=SC2086
refuses 'piqa was begun with other task files' eval $llama --data data --out whole --tasks piqa

# Answers that nobody knows the making of are not taken for this model's.
mkdir adopted && cp whole/samples_piqa.jsonl adopted
# shellcheck disable=SC2086
refuses 'adopted: there are answers of piqa, and no entry of eval.json' eval $llama --data data --out adopted --tasks piqa

# Bad items: one line with file and line, nothing computed; or left out and counted.
echo '{"goal": "a", "sol1": "b", "label": 0}' >>data/piqa/piqa.jsonl
# shellcheck disable=SC2086
refuses 'data/piqa/piqa.jsonl line' eval $llama --data data --out bad --tasks piqa
# shellcheck disable=SC2086
refuses 'data/piqa/piqa.jsonl line' eval $llama --data data --out bad --tasks piqa --limit 3 # nothing was begun: other settings are no matter
# shellcheck disable=SC2086
check 0 eval $llama --data data --out bad2 --tasks piqa --keep-going
err_has 'piqa: 1 bad item was left out'
samples_are() { tr -d ' \n' <"$1/results.json" | grep -qF "\"$2\":{$3}" || fail "$1: n-samples of $2 are not {$3}: $(sed '/n-samples/,$!d' "$1/results.json")"; }
# A data set's size is what its files have, whatever was left out or cut off.
rows=$(grep -c '{' data/piqa/piqa.jsonl)
samples_are bad2 piqa "\"original\":$rows,\"effective\":$((rows - 1)),\"skipped\":1"
# shellcheck disable=SC2086
check 0 eval $llama --data data --out bad3 --tasks piqa --keep-going --limit 1
samples_are bad3 piqa "\"original\":$rows,\"effective\":1,\"skipped\":0"
# An older version told no sizes: they are not known, until the task goes on.
sed -i 's/"sizes"/"former"/' bad3/eval.json
check 0 eval --rescore bad3
samples_are bad3 piqa '"original":null,"effective":1,"skipped":0'
# shellcheck disable=SC2086
check 0 eval $llama --data data --out bad3 --tasks piqa --keep-going --limit 1
samples_are bad3 piqa "\"original\":$rows,\"effective\":1,\"skipped\":0"

# shellcheck disable=SC2086
refuses "is for models of family mdm" eval $llama --data data --out x --cfg 1
# shellcheck disable=SC2086
refuses "'squad' is no task" eval $llama --data data --out x --tasks squad
# shellcheck disable=SC2086
refuses "--temperature is for tasks for which the model writes: none of those in --tasks is one" eval $llama --data data --out x --tasks piqa --temperature 1
# shellcheck disable=SC2086
refuses "--steps is for models of family mdm" eval $llama --data data --out x --tasks gsm8k --steps 4
# shellcheck disable=SC2086
refuses "data/gsm8k: no such folder" eval $llama --data data --out x --tasks gsm8k
# Where the Hub's copies have their Parquet: what is no Parquet is found, and named.
for place in validation-0 data/validation-0 default/validation-0 plain_text/validation-0 validation/0000 default/validation/0000 plain_text/validation/0000; do
    rm -rf hub; mkdir -p "hub/piqa/$(dirname $place)"; echo nonsense >hub/piqa/$place.parquet
    refuses "hub/piqa/$place.parquet: " eval $llama --data hub --out x --tasks piqa
done
# The last task's files are looked at before the first is asked.
# shellcheck disable=SC2086
refuses "data/gsm8k: no such folder" eval $llama --data data --out x --tasks boolq,gsm8k
# shellcheck disable=SC2086
refuses "data/piqa/piqa.jsonl line" eval $llama --data data --out x --tasks boolq,piqa
[ ! -e x ] || fail "a refused evaluation leaves a folder"
# A task that fails takes nothing from those before it.
cp -r whole before; rm before/results.json before/samples_boolq.jsonl; sed -i '1s/0/1/' before/samples_lambada_standard.jsonl
# shellcheck disable=SC2086
refuses 'doc_id' eval $llama --data data --out before --tasks boolq,lambada_standard,arc_easy
out_has '|boolq '
grep -q '"boolq": {' before/results.json || fail "boolq was answered: $(cat before/results.json)"
# shellcheck disable=SC2086
refuses '--mc: --tasks are scored by the chain rule, which draws nothing' eval $mdm_model --data data --out x --tasks boolq,lambada_standard --mc 32
for option in model-id system text-field by-month separator; do
    # shellcheck disable=SC2086
    refuses "--$option 'caf"$'\xe9'"': not UTF-8, so eval.json cannot keep it" eval $llama --data data --out x --tasks mtbench,perplexity "--$option" $'caf\xe9'
done
check 0 eval --help
grep -q 'not given: as published for the task (mdm) (default' out && fail "--help: what is not given has no default"
out_has 'lambada_openai, cloze, gsm8k'
# shellcheck disable=SC2086
refuses ': the data folder is not there; expected ' eval $llama --data nowhere --out x
grep -q -e '--tasks without' err && fail "no task is anywhere: $(cat err)"
# shellcheck disable=SC2086
refuses "data/piqa/hellaswag: no such folder; expected hellaswag_val.jsonl" eval $llama --data data/piqa --out x
err_has ', or --tasks without hellaswag'
refuses '--weights is missing' eval --data data --out x
refuses 'no folder of mdm eval' eval --rescore nowhere
# GPT-2's begin id is its end id, which stands before documents alone.
gpt2="--weights $golden/loglik/gpt2 --tokenizer $golden/tokenizers/bytes.json --precision f32 --threads 1"
# shellcheck disable=SC2086
refuses "--bos yes: the model's tokenizer has no begin id but its end id, which could stand before a context of boolq" eval $gpt2 --data data --out x --tasks boolq --bos yes
mkdir -p documents/perplexity; echo 'Two hens.' >documents/perplexity/a.txt
# shellcheck disable=SC2086
check 0 eval $gpt2 --data documents --out documents/out --tasks perplexity --bos yes
# An entry that somebody has broken is named.
for entry in '3' '{"hash": "", "items": 1, "skipped": 0}' '{"settings": {}, "items": 1, "skipped": 0}' '{"settings": {}, "hash": "", "items": "1", "skipped": 0}' '{"settings": {}, "hash": "", "items": 1}'; do
    echo "{\"config\": {}, \"tasks\": {\"piqa\": $entry}}" >edited/eval.json
    refuses 'edited/eval.json: "piqa": expected an object with "settings", "hash", "items" and "skipped"' eval --rescore edited
done
echo '{}' >edited/eval.json
refuses 'not an eval.json' eval --rescore edited
exit $bad
