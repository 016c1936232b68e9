#!/bin/bash
# mdm eval on tasks for which the model writes: reversed facts, word problems in two passes, MT-Bench.
. tests/cli/common.sh "$1"

mkdir -p data/reverse data/gsm8k data/mt_bench
printf '%s\n' '{"prompt": "Known as Mo Reed,", "completion": " the first to map the sea."}' '{"prompt": "Mo was once", "completion": " A tall one"}' >data/reverse/p2d_prompts_test.jsonl
echo '{"prompt": "He who mapped the sea is", "completion": " Mo Reed"}' >data/reverse/d2p_reverse_prompts_test.jsonl
echo '{"question": "Is it #### 5", "answer": "No.\n#### 5"}
{"question": "How many?", "answer": "2 + 3 = 5\n#### 5"}
{"question": "How much?", "answer": "It is\n#### 1,200"}' >data/gsm8k/test.jsonl
echo '{"question_id": 81, "category": "math", "turns": ["Add 2 and 3.", "And 4?"]}
{"question_id": 82, "category": "writing", "turns": ["Say hello to the king."]}' >data/mt_bench/question.jsonl
tokenizer="--tokenizer $golden/tokenizers/llama.json --precision f32 --threads 1 --data data"
mdm_model="--weights $golden/loglik/mdm $tokenizer"
arm_model="--weights $golden/loglik/llama $tokenizer"
compact() { tr -d ' \n' <"$1/results.json"; }

# Published settings; the length is at most the model's. What is written is what mdm generate writes, and no part of the prompt.
# shellcheck disable=SC2086
check 0 eval $mdm_model --out whole --tasks reverse_ntd,gsm8k
out_has '|reverse_ntd     |    1.0|none  |     0|acc       |'
out_has '| - same         |    1.0|none  |     0|acc       |'
out_has '| - reverse      |    1.0|none  |     0|acc       |'
out_has '|bleu      |'
grep -q '"steps": 32' whole/eval.json && grep -q '"length": 52' whole/eval.json && grep -q '"cfg": 0.80' whole/eval.json &&
    grep -q '"length": 96' whole/eval.json && grep -q '"passes": 2' whole/eval.json || fail "published settings: $(cat whole/eval.json)"
check 0 generate --weights "$golden/loglik/mdm" --tokenizer "$golden/tokenizers/llama.json" --precision f32 --threads 1 --prompt 'Known as Mo Reed,' \
    --length 52 --steps 32 --cfg 0.8 --sampler confidence --output json
written() { sed -E 's/.*"filtered_resps":\["(([^"\\]|\\.)*)".*/\1/' "$1"; }
grep -qF "$(head -n 1 whole/samples_reverse_ntd.jsonl | written -)\"" out || fail "other text than mdm generate: $(head -n 1 whole/samples_reverse_ntd.jsonl)"
written whole/samples_reverse_ntd.jsonl | grep -q 'Known as' && fail "the prompt is part of the text"
grep -q '"#### 5' whole/samples_gsm8k.jsonl && fail "the question's #### is part of the text"
grep '"doc_id":0' whole/samples_gsm8k.jsonl | grep -q '"acc":0.0' || fail "the question's own #### was taken for the answer"

# One by one, in parts, after a torn line: the same bytes.
# shellcheck disable=SC2086
check 0 eval $mdm_model --out parts --tasks reverse_ntd,gsm8k --batch 1 --limit 1
printf '{"doc_id":2,"do' >>parts/samples_gsm8k.jsonl
# shellcheck disable=SC2086
cp -r parts torn
grep -o '"doc_id":[0-9]' parts/samples_reverse_ntd.jsonl | paste -sd, | grep -qx '"doc_id":0,"doc_id":2' || fail "--limit 1 is not of each group: $(cat parts/samples_reverse_ntd.jsonl)"
out_has 'reverse_ntd: 2 of 3 items'
# shellcheck disable=SC2086
check 0 eval $mdm_model --out parts --tasks gsm8k,reverse_ntd --batch 7
for f in samples_gsm8k.jsonl samples_reverse_ntd.jsonl results.json; do cmp -s whole/$f parts/$f || fail "$f differs from that of one go"; done
# A kill -9 behind the last answer leaves lines as they were answered; the next run puts them in order, and what is there twice is an error.
{ sed -n '1p;3p' whole/samples_reverse_ntd.jsonl; echo; sed -n '2p' whole/samples_reverse_ntd.jsonl; } >torn/samples_reverse_ntd.jsonl
# shellcheck disable=SC2086
check 0 eval $mdm_model --out torn --tasks gsm8k,reverse_ntd
for f in samples_reverse_ntd.jsonl results.json; do cmp -s whole/$f torn/$f || fail "$f is in another order: $(cat torn/$f)"; done
sed -n '1p' whole/samples_reverse_ntd.jsonl >>torn/samples_reverse_ntd.jsonl
# shellcheck disable=SC2086
refuses 'torn/samples_reverse_ntd.jsonl line 4: doc_id 0 is there twice: leave one of the lines' eval $mdm_model --out torn --tasks reverse_ntd
# shellcheck disable=SC2086
refuses 'gsm8k was begun with "seed": 0, this is 1; use another --out' eval $mdm_model --out parts --tasks gsm8k --seed 1
# shellcheck disable=SC2086
refuses 'reverse_ntd was begun with "steps": 32, this is 4; use another --out' eval $mdm_model --out parts --tasks reverse_ntd --steps 4
# How large a data set is cannot be told of sizes that somebody has spoilt.
for size in 9223372036854775807 -1; do
    cp -r parts spoilt && sed -i '/"sizes"/,/}/s/"reverse": 1/"reverse": '$size'/' spoilt/eval.json
    check 0 eval --rescore spoilt
    compact spoilt | grep -qF '"reverse_ntd":{"original":null,"effective":3,' || fail "sizes: $size: $(cat spoilt/results.json)"
    rm -r spoilt
done
# What a row may have, its line of samples has too when it is put in its place: U+0000, and half a surrogate pair in what somebody's script wrote again.
cp -r data odd && sed -i 's/}$/, "note": "a\\u0000b"}/' odd/reverse/*.jsonl
# shellcheck disable=SC2086
check 0 eval $mdm_model --data odd --out odd/out --tasks reverse_ntd --limit 1 --steps 4
sed -i '1s/a\\u0000b/a\\ud800b/; 1a\ ' odd/out/samples_reverse_ntd.jsonl
# shellcheck disable=SC2086
check 0 eval $mdm_model --data odd --out odd/out --tasks reverse_ntd --steps 4
[ "$(grep -no '"doc_id":[0-9]\|a.ud800b' odd/out/samples_reverse_ntd.jsonl | paste -sd,)" = '1:"doc_id":0,1:a\ud800b,2:"doc_id":1,3:"doc_id":2' ] ||
    fail "samples with odd characters: $(cat odd/out/samples_reverse_ntd.jsonl)"
# With a temperature, another seed writes another text; steps and guidance count.
# shellcheck disable=SC2086
check 0 eval $mdm_model --out seeded --tasks gsm8k --seed 1
cmp -s <(written whole/samples_gsm8k.jsonl) <(written seeded/samples_gsm8k.jsonl) && fail "--seed changes nothing"
for option in '--steps 3' '--cfg 0' '--sampler entropy' '--temperature 2'; do
    # shellcheck disable=SC2086
    check 0 eval $mdm_model --out "with$option" --tasks reverse_ntd $option
    cmp -s <(written whole/samples_reverse_ntd.jsonl) <(written "with$option/samples_reverse_ntd.jsonl") && fail "$option changes nothing"
done

# Equal questions have random numbers of their own.
mkdir -p equal/gsm8k && sed -n '2p;2p' data/gsm8k/test.jsonl >equal/gsm8k/test.jsonl
# shellcheck disable=SC2086
check 0 eval $mdm_model --data equal --out equal/out --tasks gsm8k --temperature 1
[ "$(written equal/out/samples_gsm8k.jsonl | sort -u | wc -l)" -eq 2 ] || fail "equal questions have equal texts"

# An autoregressive model stops at its end id, which this seed finds early. The second pass goes on from the first one's text, on a
# line of its own, and with random numbers of its own: those of mdm generate's second sample.
random="--temperature 4 --seed 116"
# shellcheck disable=SC2086
check 0 eval $arm_model --data equal --out equal/arm --tasks gsm8k --limit 1 --bos yes $random
generate="--weights $golden/loglik/llama --tokenizer $golden/tokenizers/llama.json --precision f32 --threads 1 --length 48 --output json"
# shellcheck disable=SC2086
check 0 generate $generate $random --prompt 'Question: How many?'
text() { sed -E 's/.*"text":"(([^"\\]|\\.)*)".*/\1/' out | tail -n 1; }
first=$(text)
printf '{"prompt": "x"}\n{"prompt": "%s"}\n' "$first" >prompts.jsonl
# shellcheck disable=SC2086
check 0 generate $generate $random --prompts prompts.jsonl
second=$(text)
[ "$first\\n${second#"$first"}" = "Question: How many?$(written equal/arm/samples_gsm8k.jsonl)" ] ||
    fail "two passes: $(written equal/arm/samples_gsm8k.jsonl); one by one: $first, $second"

# shellcheck disable=SC2086
check 0 eval $arm_model --out arm --tasks gsm8k,reverse_ntd
# shellcheck disable=SC2086
check 0 eval $arm_model --out arm1 --tasks gsm8k,reverse_ntd --batch 1
for f in samples_gsm8k.jsonl samples_reverse_ntd.jsonl results.json; do cmp -s arm/$f arm1/$f || fail "arm: $f differs with --batch 1"; done
grep -q '"sampler": "causal"' arm/eval.json && ! grep -q steps arm/eval.json || fail "arm: $(cat arm/eval.json)"

# Ctrl-C ends while a text is written, and what was answered before is kept.
# shellcheck disable=SC2086
check 0 eval $mdm_model --out stopped --tasks mtbench --template plain --steps 10000000 --batch 1
# shellcheck disable=SC2086
(trap - INT; exec "$mdm" eval $mdm_model --out stopped --tasks gsm8k,reverse_ntd,mtbench --template plain --steps 10000000 --batch 1) >out 2>err &
for _ in $(seq 6000); do [ -s stopped/samples_gsm8k.jsonl ] && break; sleep 0.01; done
kill -INT $!; wait $!
[ $? -eq 130 ] || fail "Ctrl-C: another status"
err_has 'stopped; what was answered is in stopped, the same command goes on'
[ "$(wc -l <stopped/samples_gsm8k.jsonl)" -lt 3 ] || fail "Ctrl-C came too late to be seen"
[ "$(wc -l <stopped/samples_gsm8k.jsonl)" -gt 0 ] || fail "what was answered is lost"
# Under the table stands how much of it there is; in results.json too. What an earlier run has answered need not be reached again.
part="gsm8k: $(grep -c . stopped/samples_gsm8k.jsonl) of 3 items, not finished"
out_has "$part"
out_has 'reverse_ntd: not reached'
grep -q "mtbench: not reached" out && fail "what is there is not reached"
grep -q '"unfinished": true' stopped/results.json || fail "results.json of a stop: $(cat stopped/results.json)"
check 0 eval --rescore stopped
out_has "$part"
# shellcheck disable=SC2086
check 0 eval $mdm_model --out stopped --tasks gsm8k --steps 10000000 --batch 1 --limit 1
out_has "$part" # three were wanted before

# Metrics follow from what was written: case does not count, and what stands behind the last ####.
edit() { # FILE LINE TEXT
    sed -E -i "$2s/(\"filtered_resps\":)\[\"([^\"\\\\]|\\\\.)*\"\]/\1[\"$3\"]/" "$1"
}
cp -r whole edited
edit edited/samples_gsm8k.jsonl 2 'thought #### 7\\n#### \$5.00 '
edit edited/samples_gsm8k.jsonl 3 '#### 1200 #### 1201'
edit edited/samples_reverse_ntd.jsonl 1 'he is THE FIRST to map the sea. Yes'
edit edited/samples_reverse_ntd.jsonl 2 'a TALL one '
edit edited/samples_reverse_ntd.jsonl 3 'Mo  Reed'
check 0 eval --rescore edited
out_has '|gsm8k           |    1.0|none  |     0|acc       |↑  |   0.3333|±  | 0.3333|'
out_has '| - same         |    1.0|none  |     0|acc       |↑  |   1.0000|±  | 0.0000|'
out_has '|                |       |none  |     0|bleu      |↑  |   0.8505|' # nltk: 0.85054 and 0.66874
out_has '|                |       |none  |     0|bleu      |↑  |   0.6687|'
out_has '| - reverse      |    1.0|none  |     0|acc       |↑  |   0.0000|'
# The task's own numbers are of all its items, those of its groups in n-samples of theirs.
row '|reverse_ntd|1.0|none|0|acc|↑|0.6667|±|0.3333|'
compact edited | grep -qF '"reverse_ntd":{"alias":"reverse_ntd","acc,none":0.6666666666666666' && compact edited | grep -qF '"reverse_ntd_same":{"alias":"-same","acc,none":1.0' &&
    compact edited | grep -qF '"reverse_ntd":["reverse_ntd_same","reverse_ntd_reverse"]' || fail "groups: $(cat edited/results.json)"
compact edited | grep -qF '"reverse_ntd":{"original":3,"effective":3,"skipped":0},"reverse_ntd_same":{"original":2,"effective":2},"reverse_ntd_reverse":{"original":1,"effective":1}' ||
    fail "n-samples of groups: $(cat edited/results.json)"

# Samples that somebody has broken are named by line, and nothing is written.
spoil() { # TASK LINE FROM TO TEXT: a sample changed by sed, and what is said of it
    rm -rf spoilt && cp -r edited spoilt
    sed -E -i "$2s/$3/$4/" "spoilt/samples_$1.jsonl"
    refuses "spoilt/samples_$1.jsonl line $2: $5" eval --rescore spoilt
    cmp -s edited/results.json spoilt/results.json || fail "results.json was written"
}
spoil gsm8k 2 '"filtered_resps":.*' '"filtered_resps":[3]}' '"filtered_resps": expected a list of a text'
spoil gsm8k 1 '"target"' '"goal"' '"target" is missing'
spoil reverse_ntd 3 '"group":"reverse"' '"group":3' '"group" must be a string'

# MT-Bench: FastChat's answers, which mdm judge reads. With this seed an end id leaves the second turn some room.
chat="--tasks mtbench --template plain --temperature 3 --seed 4"
# shellcheck disable=SC2086
check 0 eval $mdm_model --out chat $chat --turns 2 --model-id my/model
out_has '|mtbench         |    1.0|none  |     0|seconds   |'
answers=chat/model_answer/my_model.jsonl
[ "$(wc -l <$answers)" -eq 2 ] || fail "answers: $(cat $answers)"
head -n 1 $answers | grep -qE '^\{"question_id":81,"answer_id":"[0-9a-f]{16}","model_id":"my/model","choices":\[\{"index":0,"turns":\["([^"\\]|\\.)+","([^"\\]|\\.)+"\]\}\],"tstamp":[0-9.]+,"seconds":\[[0-9.e-]+,[0-9.e-]+\]\}$' ||
    fail "an answer: $(head -n 1 $answers)"
tail -n 1 $answers | grep -qE '"turns":\["([^"\\]|\\.)+"\]' || fail "a question of one turn: $(tail -n 1 $answers)"
# A second turn is asked as conversations are learned: each piece by itself, with the begin id before it, and the end id behind
# the answer. It is text 1 of its question, so mdm generate's second sample.
# shellcheck disable=SC2086
check 0 eval $arm_model --out chat3 --tasks mtbench --template plain --temperature 4 --seed 46 --turns 2 --bos yes
both=$(sed -nE '1s/.*"turns":(\["([^"\\]|\\.)+","([^"\\]|\\.)+"\]).*/\1/p' chat3/model_answer/llama.jsonl)
answered=$(sed -E 's/^\["(([^"\\]|\\.)*)".*/\1/' <<<"$both")
printf '{"text": "%s"}\n' 'Add 2 and 3.' "$answered" 'And 4?' | "$mdm" tokenizer encode --tokenizer "$golden/tokenizers/llama.json" 2>err | sed -E 's/.*\[(.*)\].*/\1/' >ids
# shellcheck disable=SC2086
check 0 generate $generate --temperature 4 --seed 46 --prompt-ids "1,$(sed -n 1p ids),1,$(sed -n 2p ids),2,1,$(sed -n 3p ids)" --count 2
[ -n "$both" ] && [ "$(text)" = "$(sed -E 's/^\["(.*)","(.*)"\]$/Add 2 and 3. \1 And 4?\2/' <<<"$both")" ] || fail "two turns: $both"
# One that does not fit has no answer and no time.
# shellcheck disable=SC2086
check 0 eval $mdm_model --out chat4 --tasks mtbench --template plain --temperature 3 --seed 5 --turns 2
head -n 1 chat4/model_answer/mdm.jsonl | grep -qE '"turns":\["([^"\\]|\\.)+",""\].*"seconds":\[[0-9.e-]+,null\]' || fail "no room: $(head -n 1 chat4/model_answer/mdm.jsonl)"
head -n 1 chat4/samples_mtbench.jsonl | sed -E 's/.*"seconds_of_turns":\[([^,]*),null.*"seconds":([^,}]*).*/\1 \2/' | awk '{ exit !(NF == 2 && $1 == $2) }' ||
    fail "seconds: $(head -n 1 chat4/samples_mtbench.jsonl)"
# What else is wrong with one is an error: allocations fail in their turn, until none is left that could.
for n in $(seq 295 1000); do
    rm -rf chat5
    # shellcheck disable=SC2086
    MDM_FAULT=alloc:$n "$mdm" eval $arm_model --out chat5 --limit 1 --tasks mtbench --template plain --temperature 4 --seed 46 --turns 2 --bos yes >out 2>err && break
done
[ "$n" -gt 295 ] && grep -qF "$both" chat5/model_answer/llama.jsonl || fail "a failed allocation is an answer: $(head -n 1 chat5/model_answer/llama.jsonl)"
# shellcheck disable=SC2086
check 0 eval $mdm_model --out chat1 $chat --batch 9
head -n 1 chat1/model_answer/mdm.jsonl | grep -qE '"turns":\["([^"\\]|\\.)+",""\]' || fail "a first turn alone: $(head -n 1 chat1/model_answer/mdm.jsonl)"
turns() { sed -E 's/.*"turns":\["(([^"\\]|\\.)*)".*/\1/' "$1"; }
cmp -s <(turns $answers) <(turns chat1/model_answer/mdm.jsonl) || fail "first turns depend on --turns or --batch"
head -n 1 chat/samples_mtbench.jsonl | grep -qF '"arguments":[["Add 2 and 3.",{' || fail "arguments: $(head -n 1 chat/samples_mtbench.jsonl)"
# shellcheck disable=SC2086
check 0 eval $mdm_model --out chat2 $chat --template chatml
cmp -s <(turns chat1/model_answer/mdm.jsonl) <(turns chat2/model_answer/mdm.jsonl) && fail "--template changes nothing"
# shellcheck disable=SC2086
refuses "no chat template is called 'alpaca'" eval $mdm_model --out x --tasks mtbench --template alpaca
long=$(printf '%0201d' 0)
# shellcheck disable=SC2086
refuses "'00000000000000000000…', 201 bytes: a file of answers is called so; give another name of at most 200 bytes with --model-id" eval $mdm_model --out long $chat --model-id "$long"
[ ! -e long ] || fail "an evaluation without a name was begun"
# shellcheck disable=SC2086
check 0 eval $mdm_model --out long --tasks mtbench --template plain --steps 4 --model-id "${long#0}"
[ -s "long/model_answer/${long#0}.jsonl" ] || fail "a long name: $(ls long/model_answer)"
cp -r "$golden/loglik/mdm" $'md\xe9m'
# shellcheck disable=SC2086
check 0 eval --weights $'md\xe9m' $tokenizer --out named --tasks mtbench --template plain --steps 4
[ -s named/model_answer/md_m.jsonl ] || fail "weights whose name is not UTF-8: $(ls named/model_answer)"
rm chat/model_answer/my_model.jsonl; : >chat/model_answer/my_model.jsonl.tmp.0123456789abcdef # a kill left it
check 0 eval --rescore chat
[ -s chat/model_answer/my_model.jsonl ] || fail "--rescore does not write the answers again"
[ -e chat/model_answer/my_model.jsonl.tmp.0123456789abcdef ] && fail "what a kill left stays: $(ls chat/model_answer)"

# Bad items: one line, or left out and counted.
# shellcheck disable=SC2086
refuses "question.jsonl line 1: the prompt has" eval $mdm_model --out bad --tasks mtbench
check 0 eval --rescore bad
out_has 'mtbench: 0 of 2 items, not finished'
# shellcheck disable=SC2086
refuses "--length 97 does not fit the model, whose longest sequence (block_size) is 96" eval $mdm_model --out bad2 --tasks reverse_ntd --length 97
printf '{"question": "%0400d", "answer": "#### 1"}\n' 7 >>data/gsm8k/test.jsonl
# shellcheck disable=SC2086
refuses "data/gsm8k/test.jsonl line 4: the prompt has" eval $mdm_model --out bad3 --tasks gsm8k
[ "$(wc -l <bad3/samples_gsm8k.jsonl)" -eq 3 ] || fail "what was answered before a bad item is lost"
# shellcheck disable=SC2086
check 0 eval $mdm_model --out bad3 --tasks gsm8k --keep-going
err_has 'gsm8k: 1 bad item was left out'
grep -q '"skipped": 1' bad3/results.json || fail "skipped: $(cat bad3/results.json)"
grep -q ' items' out && fail "all that can be asked is there"
compact bad3 | grep -qF '"gsm8k":{"original":4,"effective":3,"skipped":1}' || fail "an item that is too long is none of the data set: $(cat bad3/results.json)"
# Where all items of a task are left out, that is an error, behind the tasks that can be asked; but not where answers are there.
mkdir -p nothing/gsm8k && tail -n 1 data/gsm8k/test.jsonl >>nothing/gsm8k/test.jsonl && tail -n 1 data/gsm8k/test.jsonl >>nothing/gsm8k/test.jsonl && cp -r data/mt_bench nothing
# shellcheck disable=SC2086
check 2 eval $mdm_model --data nothing --out nothing/out --tasks gsm8k,mtbench --keep-going --template plain --steps 4
grep -q '^mdm eval: gsm8k: nothing could be evaluated: 2 items left out, the first: nothing/gsm8k/test.jsonl line 1: the prompt has ' err || fail "nothing could be evaluated"
grep -qx 'gsm8k: 0 of 2 items' out || fail "no item of gsm8k is there"
out_has '|mtbench '
check 0 eval --rescore nothing/out
grep -qx 'gsm8k: 0 of 2 items' out || fail "no item of gsm8k is there"
# So it is where no row is good, where there is none, and of perplexity; each is an error that --quiet leaves, and a later one that ends all hides none.
mkdir -p empty/gsm8k empty/reverse empty/perplexity && cp -r data/mt_bench empty && echo '{"question": "What?"}' >empty/gsm8k/test.jsonl
echo >empty/reverse/p2d_prompts_test.jsonl && echo >empty/reverse/d2p_reverse_prompts_test.jsonl && echo >empty/perplexity/a.txt
# shellcheck disable=SC2086
check 2 eval $mdm_model --data empty --out empty/out --tasks gsm8k,reverse_ntd,perplexity,mtbench --keep-going --template plain --steps 4 --quiet
told() { [ "$(cut -d: -f1-3 err | paste -sd'|')" = "$1" ] || fail "$last: not each error is told once, and nothing else"; }
nothing='mdm eval: gsm8k: nothing could be evaluated'
told "$nothing|mdm eval: empty/reverse/p2d_prompts_test.jsonl: no item in it|mdm eval: empty/perplexity/a.txt: no text in it"
for line in 'gsm8k' reverse_ntd perplexity; do grep -qx "$line: 0 of 0 items" out || fail "no item of $line is there"; done
out_has '|mtbench '
samples=$(cat empty/out/samples_mtbench.jsonl)
# shellcheck disable=SC2086
check 2 eval $mdm_model --data empty --out empty/out --tasks gsm8k,mtbench --keep-going --template plain --steps 5 --quiet
told "$nothing|mdm eval: empty/out: mtbench was begun with \"steps\""
[ "$samples" = "$(cat empty/out/samples_mtbench.jsonl)" ] || fail "other settings changed samples"
# shellcheck disable=SC2086
refuses 'gsm8k/test.jsonl line 1: "answer" is missing' eval $mdm_model --data empty --out empty/none --tasks mtbench,gsm8k --template plain
[ ! -e empty/none ] || fail "a bad row is known before anything is computed"
# shellcheck disable=SC2086
refuses 'a.txt: no text in it' eval $mdm_model --data empty --out empty/one --tasks perplexity,mtbench --template plain
[ ! -e empty/one/samples_mtbench.jsonl ] || fail "without --keep-going the first error ends the command"
mkdir -p after/gsm8k && { tail -n 1 data/gsm8k/test.jsonl; head -n 2 data/gsm8k/test.jsonl; } >after/gsm8k/test.jsonl
for limit in 2 1; do
    # shellcheck disable=SC2086
    check 0 eval $mdm_model --data after --out after/out --tasks gsm8k --keep-going --limit $limit
done
# Bad rows are no part of the items: --limit is told beside them. What a shorter run met of bad items is not all.
mkdir -p rows/gsm8k && { for i in 1 2 3 4 5; do echo '{"question": "What?"}'; done; cat data/gsm8k/test.jsonl; } >rows/gsm8k/test.jsonl
for limit in 2 0 1; do
    # shellcheck disable=SC2086
    check 0 eval $mdm_model --data rows --out bad5 --tasks gsm8k --keep-going --limit $limit
    if [ $limit -eq 2 ]; then out_has 'gsm8k: 2 of 4 items'; else ! grep -q ' items' out || fail "--limit $limit: all that can be asked is there"; fi
done
grep -q '"skipped": 6' bad5/results.json || fail "skipped: $(cat bad5/results.json)"
echo '{"prompt": "x", "completion": " "}' >>data/reverse/p2d_prompts_test.jsonl
# shellcheck disable=SC2086
refuses 'p2d_prompts_test.jsonl line 3: "completion" is empty' eval $mdm_model --out bad4 --tasks reverse_ntd
exit $bad
