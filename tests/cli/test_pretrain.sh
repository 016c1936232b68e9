#!/bin/bash
# mdm pretrain end to end: text to model; stop and resume; kill -9 at 20 random moments; bad settings; a full disk.
. tests/cli/common.sh "$1"
run() { last="mdm $*"; "$mdm" "$@" >out 2>err; }

for i in $(seq 1 400); do printf 'the %s dog number %d sees a %s cat\n\n' "$([ $((i % 3)) = 0 ] && echo red || echo blue)" "$i" "$([ $((i % 2)) = 0 ] && echo big || echo small)"; done >text.txt
run tokenizer train --vocab 300 --out tokenizer.json text.txt || fail "tokenizer train"
run prepare --tokenizer tokenizer.json --out data --validation 0.1 text.txt || fail "prepare"
cat >tiny.json <<'END'
{"family": "mdm", "block_size": 32, "vocab_size": 300, "padded_vocab_size": 320, "mask_id": 320, "n_layer": 2, "n_head": 2,
 "n_query_groups": 2, "n_embd": 32, "intermediate_size": 64, "norm_eps": 1e-5, "rope_bf16": true}
END
common="--model tiny.json --data data --tokenizer tokenizer.json --batch 4 --length 32 --mc 2 --valid-sequences 2 --precision f32 --eval-every 10"

# A whole run and what it leaves.
run pretrain $common --steps 30 --out whole || fail "pretrain"
for f in run.json config.json tokenizer.json metrics.csv model.safetensors checkpoint-00000030.safetensors; do [ -s whole/$f ] || fail "whole/$f is missing"; done
[ "$(wc -l <whole/metrics.csv)" -eq 31 ] || fail "metrics.csv: expected 30 rows and a header"
cut -d, -f5 whole/metrics.csv | sed -n 11p | grep -q '[0-9]' || fail "no validation loss at step 10"
run inspect whole || fail "inspect whole"
run generate --weights whole --prompt-ids 1,2,3 --length 16 --steps 4 --output ids || fail "generate from the run"

# The same settings from run.json; the same bytes.
run pretrain --config whole/run.json --out repeat || fail "--config"
cmp -s whole/model.safetensors repeat/model.safetensors || fail "a repeated run differs"

# kill -9 at 20 random moments, then go on: the same bytes and the same rows.
RANDOM=7
kills=0
for try in $(seq 60); do
    [ $kills -ge 20 ] && break
    "$mdm" pretrain $common --steps 30 --out killed --save-every 1 --quiet >out 2>err &
    pid=$!
    sleep "0.$((RANDOM % 40 + 10))"
    if kill -9 $pid 2>/dev/null; then kills=$((kills + 1)); fi
    wait $pid 2>/dev/null
    newest=$(ls killed/checkpoint-*.safetensors 2>/dev/null | tail -n 1)
    if [ -n "$newest" ]; then run inspect "$newest" || fail "after kill $kills: $newest is damaged"; fi
    [ -s killed/model.safetensors ] && rm -rf killed # it got to the end: start over
done
[ $kills -ge 20 ] || fail "only $kills kills met a living run"
run pretrain $common --steps 30 --out killed || fail "resume after kill -9"
cmp -s whole/model.safetensors killed/model.safetensors || fail "a killed and resumed run differs"
cmp -s <(cut -d, -f1-7 whole/metrics.csv) <(cut -d, -f1-7 killed/metrics.csv) || fail "metrics.csv of a killed run differs"

# SIGTERM saves and says how to go on.
"$mdm" pretrain $common --steps 100000 --out stopped >out 2>err &
pid=$!
for try in $(seq 100); do [ -s stopped/metrics.csv ] && [ "$(wc -l <stopped/metrics.csv)" -gt 3 ] && break; sleep 0.1; done
kill -TERM $pid
wait $pid
[ $? -eq 143 ] || fail "SIGTERM: status is not 143"
grep -q 'goes on from there' err || fail "SIGTERM: no word on how to go on"
ls stopped/checkpoint-*.safetensors >/dev/null || fail "SIGTERM: nothing saved"

# Settings that cannot be.
refuses "did you mean '--steps'" pretrain $common --stepz 3 --out x
refuses "give one of --flops, --tokens and --steps" pretrain $common --out x
refuses "below one step" pretrain $common --tokens 5 --out x
refuses "block size" pretrain --model tiny.json --data data --tokenizer tokenizer.json --steps 3 --length 64 --out x
refuses "was started with" pretrain $common --steps 30 --lr 1e-3 --out whole
refuses "nowhere" pretrain --model tiny.json --data nowhere --tokenizer tokenizer.json --steps 3 --length 32 --out x
mkdir folder.json
refuses "folder.json" pretrain --model folder.json --data data --tokenizer tokenizer.json --steps 3 --length 32 --out x
echo file >plain
refuses "plain" pretrain $common --steps 3 --out plain
printf '{"settings": {"steps": "many"}}' >wrong.json
refuses "wrong.json" pretrain --config wrong.json --out x
head -c 100 whole/checkpoint-00000030.safetensors >cut
mv cut whole/checkpoint-00000030.safetensors
refuses "checkpoint-00000030" pretrain --out whole --quiet

# A full disk: one line, status 2.
if mkdir small && mount -t tmpfs -o size=400k none small 2>/dev/null; then
    refuses "small" pretrain --quiet $common --steps 30 --save-every 1 --keep 50 --out small/run
    umount small
else
    echo "SKIP: cannot mount a small file system: the full disk is not tried"
fi

# The picture.
run plot repeat --out loss.svg || fail "plot"
grep -q '<svg' loss.svg || fail "loss.svg is no SVG"
exit $bad
