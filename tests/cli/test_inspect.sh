#!/bin/bash
# mdm inspect: every kind of file is named; damage of every kind gives status 2 and one line that names the file.
. tests/cli/common.sh "$1"
inspect() { check "$1" inspect "${@:2}"; [ "$1" -ne 0 ] || err_empty; } # STATUS FILES...
put() { # FILE OFFSET BYTES: overwrite
    printf '%b' "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# Weights.
cp -r "$golden/mdm-odd" model && chmod -R u+w model
inspect 0 model/model.safetensors
out_has 'published names, 17 tensors, 18780 values'
out_has 'family mdm: 2 layers, width 30, 3 heads in 3 groups, MLP 50'
out_has 'N = 16350, 18780 parameters in all'
grep -q 'transformer.h.\*.attn.attn.weight *\[90, 30\] *F32 *x 2' out || fail "$last: no line of attn"
inspect 0 model
out_has 'model/config.json: configuration'
out_has 'model/cases.safetensors: 39 tensors'
head -c 100 model/model.safetensors >model/model.safetensors.tmp.0123456789abcdef
inspect 0 model; out_has 'tmp.0123456789abcdef: being written, or left by a write that was killed'
rm model/*.tmp.*
size=$(stat -c %s model/model.safetensors)
for cut in 0 7 8 100 $((size / 2)) $((size - 1)); do
    head -c "$cut" "$golden/mdm-odd/model.safetensors" >model/model.safetensors
    inspect 2 model/model.safetensors; err_one_line; err_has model/model.safetensors
    inspect 2 model; err_one_line; err_has model/model.safetensors
done
cp "$golden/mdm-odd/model.safetensors" model/model.safetensors
put model/model.safetensors $((size - 4)) '\0\0\0200\0177' # the head's last value becomes infinite
inspect 2 model/model.safetensors; err_one_line; err_has "1 values are not finite, the first is element 1199 of 'lm_head.weight'"
cp "$golden/mdm-mha/model.safetensors" model/model.safetensors
inspect 2 model; err_one_line; err_has "expects"
rm model/config.json
inspect 0 model/model.safetensors; out_has 'no config.json is beside it'
inspect 2 missing; err_one_line; err_has missing

# Results, and what prints them.
cp -r "$golden/judge" judged && chmod -R u+w judged
inspect 0 judged
out_has "made-up_single.jsonl: 12 judgments; 'mdm judge show judged/' prints what came of it"
echo '{"model":' >>judged/made-up_single.jsonl
inspect 2 judged; err_one_line; err_has 'made-up_single.jsonl'
echo '{"a": 1}' >judged/made-up_single.jsonl
cp "$golden/judge/made-up_single.jsonl" judged/other_single.jsonl
inspect 0 judged; out_has 'judged/made-up_single.jsonl: not looked into'
echo '{"a": 1}' >>judged/other_single.jsonl
inspect 2 judged; err_one_line; err_has 'other_single.jsonl line 13: no "question_id"'
mkdir law evaluated
echo '{"families": {}}' >law/fit.json
inspect 2 law; err_has 'law: a folder without a file that is known'
echo '{"families": {"mdm": {"budgets": [{}, {}]}}}' >law/fit.json
inspect 0 law; out_has 'law/fit.json: scaling law of mdm, 2 budgets'
echo '{"config": {}, "tasks": {"piqa": {}}}' >evaluated/eval.json
inspect 2 evaluated; err_one_line; err_has 'evaluated/samples_piqa.jsonl is not there'
touch evaluated/samples_piqa.jsonl
inspect 0 evaluated; out_has "evaluated/eval.json: 1 evaluated task; 'mdm eval --rescore evaluated/' prints what came of it"

# Other projects' models: one in several files, one of another shape; a lost piece is noticed, the family must be right.
peers=$golden/peers
cp -r "$peers/llada" llada && chmod -R u+w llada
inspect 0 llada/model.safetensors.index.json
out_has '21 tensors of a model in 3 files'; out_has 'family mdm: 2 layers, width 24'; out_has 'with mask inside the vocabulary'
inspect 0 llada; out_has 'index.json: 21 tensors'
inspect 0 llada/model-00002-of-00003.safetensors; out_has 'one of several files of a model'
inspect 0 "$peers/gpt2/model.safetensors"; out_has 'GPT-2 names'
out_has 'with layer norm, learned positions, GELU, biases of q/k/v, of attention'
echo '{"context": [1, 2], "continuation": [3]}' >ids.jsonl
check 2 score --weights llada --family arm --likelihood chain ids.jsonl; err_has 'of family mdm, not arm as asked'
rm llada/model-00002-of-00003.safetensors
inspect 2 llada/model.safetensors.index.json; err_one_line; err_has model-00002-of-00003.safetensors

# Chunks: 5 tokens of type u16, and a manifest that promises them.
mkdir data
printf 'LITPKDS\1\0\0\0\0\0\0\0\10\5\0\0\0\0\0\0\0\1\0\2\0\3\0\4\0\044\0' >data/train_x_0_0000000000.bin
inspect 0 data/train_x_0_0000000000.bin; out_has '5 tokens of type u16, largest id 36'
manifest() { # TOKENS VOCAB
    echo '{"format":"mdm-chunks","version":1,"sets":{"train_x":{"tokenizer":{"vocab":'"$2"'},
        "streams":{"train_x":{"documents":1,"tokens":'"$1"',"files":1}}}}}' >data/manifest.json
}
manifest 5 37; inspect 0 data; out_has 'train_x: 5 tokens in 1 file'
manifest 6 37; inspect 2 data; err_one_line; err_has 'hold 5 tokens, the manifest says 6'
manifest 5 36; inspect 2 data; err_one_line; err_has 'id 36'
manifest 5 37
head -c 33 data/train_x_0_0000000000.bin >data/train_x_0_0000000001.bin
inspect 2 data; err_one_line; err_has train_x_0_0000000001.bin
: >data/train_x_0_0000000001.bin
inspect 2 data; err_one_line; err_has train_x_0_0000000001.bin
rm data/train_x_0_0000000001.bin data/train_x_0_0000000000.bin
inspect 2 data; err_has train_x_0_0000000000.bin
echo '{"format":' >data/manifest.json
inspect 2 data; err_one_line; err_has manifest.json

# A run: two steps of a tiny model. Its checkpoint is known, and one changed byte of it is noticed.
mkdir tokens
{ printf 'LITPKDS\1\0\0\0\0\0\0\0\10\144\0\0\0\0\0\0\0'; for _ in {1..100}; do printf '\5\0'; done; } >tokens/train_x_0_0000000000.bin
check 0 pretrain --model "$golden/mdm-odd/config.json" --data tokens --vocab 37 --steps 2 --batch 2 --length 16 \
    --precision f32 --threads 1 --quiet --out run
inspect 0 run
out_has 'checkpoint after step 2'
out_has 'run/model.safetensors: weights, published names, 17 tensors, 18780 values'
out_has "run/run.json: settings of a run of 'mdm pretrain', 2 steps"
inspect 0 run/run.json
for words in '--length 16' '--lr 0.0002' "--data $PWD/tokens" '--precision f32' '--no-stratified' '--beta2 0.95'; do
    grep -qxF -- "  $words" out || fail "$last: no line '  $words'"
done
grep -q 'min-lr\|init-from' out && fail "$last: tells what is not set"
checkpoint=$(echo run/checkpoint-*.safetensors)
inspect 0 "$checkpoint"; out_has 'checksum right'; out_has 'family mdm: 2 layers'
put "$checkpoint" $(($(stat -c %s "$checkpoint") - 30)) '\1\2\3'
inspect 2 "$checkpoint"; err_one_line; err_has "$checkpoint"
inspect 2 run; err_one_line; err_has "$checkpoint"

# What is nothing we know.
echo hello >note.txt
inspect 2 note.txt; err_one_line; err_has 'note.txt: not a file that is known here'
mkdir empty; inspect 2 empty; err_one_line; err_has 'empty: a folder without a file that is known here'
# The configuration of LLaDA, which counts layers by a name of its own.
cat >llada.json <<'END'
{"architectures": ["LLaDAModelLM"], "model_type": "llada", "d_model": 64, "n_layers": 2, "n_heads": 4, "n_kv_heads": 4, "mlp_hidden_size": 128,
 "vocab_size": 100, "embedding_size": 128, "mask_token_id": 99, "max_sequence_length": 128, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
 "block_type": "llama", "activation_type": "silu", "weight_tying": false, "include_bias": false, "eos_token_id": 2}
END
inspect 0 llada.json; out_has '2 layers, width 64'; out_has 'mask inside the vocabulary'
: >nothing; inspect 2 nothing; err_one_line
inspect 2; err_one_line
inspect 2 note.txt model/model.safetensors; out_has 'model/model.safetensors: weights'
inspect 2 /dev/null; err_one_line; err_has /dev/null
# A tensor's name that would move the cursor.
head='{"a\u001b[2J":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
{ printf "\\x$(printf %x ${#head})\\0\\0\\0\\0\\0\\0\\0%s" "$head"; printf x; } >esc.safetensors
inspect 0 esc.safetensors; out_has 'a?[2J'
exit $bad
