#!/bin/bash
# mdm finetune end to end: examples; every task trains; stop and resume; weights of other projects; what cannot be.
. tests/cli/common.sh "$1"
sets=$golden/tuning
cp "$golden/tokenizers/llama.json" tokenizer.json
vocab=$(grep -o '"[^"]*": *[0-9]*' tokenizer.json | awk -F': *' '$2 > m { m = $2 } END { print m + 1 }')
for family in mdm arm; do
    mkdir $family
    cat >$family.json <<END
{"family": "$family", "block_size": 256, "vocab_size": $vocab, "padded_vocab_size": 1024, "mask_id": $([ $family = mdm ] && echo 1024 || echo -1),
 "n_layer": 1, "n_head": 2, "n_query_groups": 2, "n_embd": 32, "intermediate_size": 48, "norm_eps": 1e-5, "rope_bf16": true}
END
done
for i in $(seq 200); do echo "the old miller kept seven geese, number $i"; echo; done >text.txt
check 0 prepare --tokenizer tokenizer.json --out data text.txt
for family in mdm arm; do
    check 0 pretrain --objective $family --model $family.json --data data --steps 1 --batch 2 --precision f32 --out $family
done

# Examples, as an independent script wrote them; with weights and without.
for file in sharegpt.json gsm8k.txt reverse.jsonl completion.jsonl chat.jsonl; do
    task=${file%.*}
    check 0 finetune --task $task --tokenizer tokenizer.json --length 256 --data "$sets/$file" --examples 100 --quiet
    cmp -s out "$sets/$task.expected" || fail "$task: other examples than the script's"
    check 0 finetune --task $task --weights mdm --data "$sets/$file" --examples 100 --quiet
    cmp -s out "$sets/$task.expected" || fail "$task: other examples with weights"
done
mkdir begun; echo '{}' >begun/run.json
refuses "--examples does not read begun/run.json: leave out --out" finetune --out begun --examples 1
refuses "--examples does not read begun/run.json: leave out --config" finetune --config begun/run.json --out new --examples 1
rm -r begun
check 0 finetune --task gsm8k --weights arm --data "$sets/gsm8k.txt" --examples 100
cmp -s out "$sets/gsm8k.arm.expected" || fail "gsm8k of an arm is filled up"
err_has "of 11 records 6 are not as the task wants them, 2 too long, 0 bad"
check 0 finetune --task gsm8k --weights mdm --data "$sets/gsm8k.txt" --examples 1
[ "$(wc -l <out)" -eq 1 ] || fail "--examples 1 printed $(wc -l <out) lines"

# Every task, both families; what the run leaves is a model.
common="--batch 4 --group 2 --precision f32 --lr 1e-3 --steps 3"
for file in sharegpt.json gsm8k.txt reverse.jsonl completion.jsonl chat.jsonl; do
    task=${file%.*}
    for family in mdm arm; do
        check 0 finetune --task $task --weights $family --data "$sets/$file" $common --out $task-$family
        for f in run.json config.json tokenizer.json metrics.csv model.safetensors; do [ -s $task-$family/$f ] || fail "$task-$family/$f is missing"; done
    done
done
grep -q '"system": "A chat between' chat-mdm/run.json || fail "run.json does not tell the system sentence"
check 0 generate --weights chat-mdm --prompt "geese" --length 8 --steps 2

# Validation of a share of the records, or of another file; groups are smaller where there is less.
check 0 finetune --task reverse --weights mdm --data "$sets/reverse.jsonl" $common --valid-data "$sets/completion.jsonl" --out valid
tail -1 valid/metrics.csv | cut -d, -f5 | grep -q '[0-9]' || fail "no validation loss"
for i in $(seq 60); do printf '{"prompt": "miller %d", "completion": " geese %d"}\n' $i $((i % 7)); done >many.jsonl
check 0 finetune --task completion --weights mdm --data many.jsonl --cfg 0.5 --validation 0.1 --batch 8 --group 4 --lr 1e-2 --epochs 4 --eval-every 10 --precision f32 --save-every 5 --keep 99 --out whole
err_has "in groups of 4"
first=$(sed -n 2p whole/metrics.csv | cut -d, -f4) last=$(tail -1 whole/metrics.csv | cut -d, -f4)
awk "BEGIN { exit !($last < 0.8 * $first) }" || fail "the loss went from $first to $last"

# Stopped by kill -9 anywhere, gone on with from another folder: the same bytes. One thread too.
cp -r whole cut
rm cut/model.safetensors cut/checkpoint-000000{10,15,2}*
(cd / && "$mdm" finetune --out "$dir/cut") >out 2>err || fail "go on from another folder"
cmp -s whole/model.safetensors cut/model.safetensors || fail "a resumed run differs"
for try in $(seq 20); do
    rm -rf killed
    killed_at killed/checkpoint-00000004.safetensors finetune --config whole/run.json --save-every 1 --out killed --quiet && break
done
[ $try -lt 20 ] || fail "kill -9 came too late 20 times"
check 0 finetune --out killed --threads 1
cmp -s whole/model.safetensors killed/model.safetensors || fail "a killed run that went on with one thread differs"
check 0 finetune --out killed --epochs 5
refuses "it can be made longer, not shorter" finetune --out killed --epochs 2
sed -i '3s/geese/goose/' many.jsonl
refuses "have changed since this run was started" finetune --out whole --epochs 6

# A stop while the data is read.
mkfifo slow.jsonl
for i in $(seq 300); do echo '{"prompt": "miller", "completion": " geese"}'; sleep 0.1; done >slow.jsonl 2>writer &
writer=$!
"$mdm" finetune --task completion --weights mdm --data slow.jsonl $common --out early >out 2>err &
pid=$!
# It reads on behind stop_install() only: the pipe has a reader then.
for try in $(seq 3000); do readlink /proc/$pid/fd/* | grep -q 'slow\.jsonl$' && break; sleep 0.01; done
kill -TERM $pid
wait $pid
[ $? -eq 143 ] || fail "SIGTERM while data is read: status is not 143"
err_one_line; err_has 'slow.jsonl: stopped while it was read'
[ ! -e early/run.json ] || fail "SIGTERM while data is read: a run was begun"
kill $writer 2>>writer

# No system sentence stays none when the run goes on.
check 0 finetune --task chat --weights mdm --data "$sets/chat.jsonl" $common --system '' --out silent
check 0 finetune --out silent --steps 4
grep -q '"system": ""' silent/run.json || fail "the empty system sentence is lost"
refuses "was started with" finetune --out silent --steps 5 --template plain

# Models of other projects, whose texts end with id 2: LLaDA has its mask among the words, Dream its logits shifted.
cat >few.json <<'END'
{"version": "1.0", "added_tokens": [{"id": 2, "content": "<|endoftext|>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}],
 "normalizer": null, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}, "post_processor": null,
 "decoder": {"type": "ByteLevel"}, "model": {"type": "BPE", "merges": [], "vocab": {"a": 0, "b": 1, "<|endoftext|>": 2, "c": 3, "d": 4}}}
END
printf '{"prompt": "ab", "completion": "cd"}\n{"prompt": "dda", "completion": "b"}\n' >few.jsonl
for peer in llada dream llama qwen2; do
    check 0 finetune --task completion --weights "$golden/peers/$peer" --tokenizer few.json --data few.jsonl --batch 2 --group 2 --steps 30 --lr 1e-2 --precision f32 --out $peer
    check 0 inspect $peer
    check 0 finetune --out $peer --steps 31
done
refuses "can be run, but not trained" finetune --task completion --weights "$golden/peers/gpt2" --tokenizer few.json --data few.jsonl --batch 2 --group 2 --steps 3 --out x

# What cannot be: one line, status 2, nothing left behind.
start="--weights mdm --data many.jsonl --out x"
refuses "no task is called 'riddle'; expected one of sharegpt|gsm8k" finetune --task riddle $start
refuses "--task is missing" finetune $start
refuses "--weights is missing" finetune --task reverse --data many.jsonl --out x
refuses "--data is missing" finetune --task reverse --weights mdm --out x
refuses "--out is missing" finetune --task reverse --weights mdm --data many.jsonl
refuses "no whole number of groups of 3" finetune --task reverse $start --batch 4 --group 3
refuses "give one of --epochs and --steps" finetune --task reverse $start --epochs 1 --steps 1
refuses "llama.json: begins and ends texts with ids 1 and 2, $(realpath "$golden")/loglik/gpt2 is of a model that has 0 and 0" finetune --task completion --weights "$golden/loglik/gpt2" \
    --tokenizer "$golden/tokenizers/llama.json" --data many.jsonl --out x --batch 4 --group 2
refuses "are no step of 64" finetune --task reverse $start --epochs 1
for i in $(seq 1001); do echo '{"prompt": "a", "completion": "b"}'; done >numerous.jsonl
refuses "more than 1000000000000 steps" finetune --task completion --weights mdm --data numerous.jsonl --out x --batch 1 --group 1 --epochs 1e9
refuses "--min-lr 0.1: the last learning rate is above the peak" finetune --task reverse $start --batch 16 --min-lr 0.1
refuses "--warmup 99: the run has 3 steps" finetune --task reverse $start --batch 16 --steps 3 --warmup 99
refuses "the model's block size is 256" finetune --task reverse $start --length 300
refuses "--cfg is for models of family mdm" finetune --task completion --weights arm --data many.jsonl --cfg 0.1 --out x
refuses "--template is for sharegpt and chat" finetune --task reverse $start --template plain
refuses "no chat template is called 'alpaca'" finetune --task chat $start --template alpaca
refuses "give one of the two" finetune --task reverse $start --validation 0.1 --valid-data many.jsonl
refuses "many.jsonl line 1: expected \"messages\"" finetune --task chat $start
refuses "do not belong together" finetune --task reverse $start --tokenizer "$golden/tokenizers/llama.model" --weights "$golden/peers/llada"
{ head -1 many.jsonl; echo '{"prompt": "x"'; tail -n +2 many.jsonl; } >broken.jsonl
refuses "broken.jsonl line 2: bad JSON" finetune --task completion --weights mdm --data broken.jsonl $common --out x
[ -e x ] && fail "a refused start leaves a folder"
check 0 finetune --task completion --weights mdm --data broken.jsonl $common --keep-going --out going
err_has "of 61 records 0 are not as the task wants them, 0 too long, 1 bad"
grep -q 'broken.jsonl line 2: bad JSON.*; left out$' err || fail "the bad record is not named"
{ cat many.jsonl; for i in 1 2 3 4 5 6 7; do echo '{"prompt": "x"'; done; } >worse.jsonl
check 0 finetune --task completion --weights mdm --data worse.jsonl $common --keep-going --out worse
[ "$(grep -c '; left out$' err)" -eq 5 ] && [ "$(grep -c 'worse.jsonl: more bad records are only counted$' err)" -eq 1 ] || fail "bad records are not named"
exit $bad
