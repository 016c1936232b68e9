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
rm repeat/checkpoint-* repeat/model.safetensors
run pretrain --out repeat || fail "without its checkpoints"
err_has "repeat: metrics.csv tells of 30 steps, but there is no checkpoint: the run begins again"
cmp -s whole/model.safetensors repeat/model.safetensors || fail "a run that began again differs"

# All that oneDNN needs is made before the first step.
made() { DNNL_VERBOSE=2 "$mdm" pretrain $common --precision bf16 --steps "$1" --out "made$1" 2>err | grep -c 'verbose,create'; }
few=$(made 1) more=$(made 4)
[ "$few" -gt 0 ] && [ "$few" -eq "$more" ] || fail "oneDNN made $few primitives for 1 step, $more for 4"

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

# A terminal that is gone is such a signal too, however often it is told; behind nohup it is none.
for how in '' nohup; do
    $how "$mdm" pretrain $common --steps 100000 --out "hung$how" >out 2>err &
    pid=$!
    for try in $(seq 100); do [ -s "hung$how/metrics.csv" ] && [ "$(wc -l <"hung$how/metrics.csv")" -gt 3 ] && break; sleep 0.1; done
    kill -HUP $pid
    kill -HUP $pid
    [ -z "$how" ] || { sleep 0.2; kill -TERM $pid; }
    wait $pid
    [ $? -eq $([ "$how" ] && echo 143 || echo 129) ] || fail "$how SIGHUP: status"
    ls "hung$how"/checkpoint-*.safetensors >/dev/null || fail "$how SIGHUP: nothing saved"
done

# What is printed and nobody reads any more is such a signal as well.
mkfifo reader
head -n 1 reader >line &
"$mdm" pretrain $common --steps 100000 --out unread >out 2>reader
[ $? -eq 141 ] || fail "SIGPIPE: status is not 141"
[ -s line ] && ls unread/checkpoint-*.safetensors >/dev/null || fail "SIGPIPE: nothing saved"

# A file at its limit is a write that fails.
(ulimit -f 1; exec "$mdm" pretrain $common --steps 30 --out limited >out 2>err)
[ $? -eq 2 ] || fail "a limit of file sizes: status is not 2"
err_has 'File too large'

# When it cannot save then, that is what it says, and its status.
"$mdm" pretrain $common --steps 100000 --out lost >out 2>err &
pid=$!
for try in $(seq 100); do [ -s lost/metrics.csv ] && [ "$(wc -l <lost/metrics.csv)" -gt 3 ] && break; sleep 0.1; done
mv lost moved
kill -TERM $pid
wait $pid
[ $? -eq 2 ] || fail "a save after a stop that fails: status is not 2"
grep -q '^mdm pretrain: .*lost/' err || fail "a save after a stop that fails: not said"

# The same within a step: nothing of it is kept, and the bar had said how far it was.
"$mdm" pretrain $common --batch 200000 --steps 3 --out inside >out 2>err &
pid=$!
for try in $(seq 300); do grep -q '% of step 1' err && break; sleep 0.1; done
kill -TERM $pid
wait $pid
[ $? -eq 143 ] || fail "SIGTERM within a step: status is not 143"
grep -q '% of step 1' err || fail "no progress within a step"
grep -q 'stopped after step 0' err || fail "SIGTERM within a step: not stopped after step 0"
grep -q 'nothing left to do' err && fail "SIGTERM within a step: said to be done"

# One that diverges says which number it was that is beyond hope; so does the next start, which does no step.
for i in 1 2; do
    check 1 pretrain $common --steps 90 --lr 10 --warmup 0 --out wild
    loss=$(sed -n 's/^after step 50: smoothed loss \([0-9.]*\), above 8.65248, 1.5 times that of guessing: the run diverged; the state after step 50 is saved in wild; try a lower --lr with another --out/\1/p' err)
    awk -F, -v told="${loss:-0}" 'NR > 1 { n++; x = $4 < 17.30496 ? $4 : 17.30496; s += (n < 50 ? 1 / n : 0.02) * (x - s) } END { exit !(NR == 51 && told - s < 1e-3 && s - told < 1e-3) }' wild/metrics.csv ||
        fail "diverged: another smoothed loss than that of metrics.csv: $loss"
    grep -q 'nothing left to do' err && fail "diverged: said to be done"
done
[ "$(grep -c '^train: ' err)" -eq 0 ] || fail "a start that does no step tells of some"

# A run goes on from anywhere, from its folder alone; one program at a time.
"$mdm" pretrain $common --steps 30 --save-every 10 --keep 9 --out elsewhere --quiet || fail "elsewhere"
rm elsewhere/checkpoint-00000030.safetensors elsewhere/model.safetensors
run_in_root() { last="in /: mdm $*"; (cd / && "$mdm" "$@") >out 2>err; }
run_in_root pretrain --out "$dir/elsewhere" || fail "go on from another folder"
cmp -s whole/model.safetensors elsewhere/model.safetensors || fail "a run that went on from another folder differs"
grep -q "\"$(realpath data)\"" elsewhere/run.json || fail "run.json does not hold the absolute path of the data"
grep -q '"version": "' elsewhere/run.json || fail "run.json does not tell the program's version"
"$mdm" pretrain $common --steps 100000 --out locked --quiet >out 2>err &
pid=$!
for try in $(seq 100); do [ -s locked/run.json ] && break; sleep 0.1; done
refuses "another program is at work in this folder (process $pid on" pretrain --out locked
kill $pid
wait $pid

# What a killed save left goes with the next start.
touch elsewhere/checkpoint-00000040.safetensors.tmp.0123456789abcdef elsewhere/validation.part.tmp.0123456789abcdef elsewhere/model.tmp.bak
run pretrain --out elsewhere || fail "go on with a finished run"
grep -q "nothing left to do" err || fail "a finished run: not said"
[ "$(ls elsewhere/*.tmp.*)" = elsewhere/model.tmp.bak ] || fail "a temporary file stays, or another file does not: $(ls elsewhere)"

# One masked token at a small ratio makes a loss that is no divergence: the first of this run, and any.
run pretrain --model tiny.json --data data --batch 1 --length 32 --precision f32 --steps 60 --seed 727 --out heavy || fail "a first loss that is high"
cut -d, -f4 heavy/metrics.csv | sed -n 2p | awk '{ exit !($1 > 30) }' || fail "the first loss is not an outlier: the case is gone: $(sed -n 2p heavy/metrics.csv)"

# A model that is there already stays, with or without a run.json: nothing begins over it, in one file or in pieces.
mkdir pieces
touch pieces/model-00001-of-00002.safetensors pieces/model.safetensors.index.json
echo mine >pieces/config.json
refuses "pieces/model-00001-of-00002.safetensors is there, and no checkpoint to go on from" pretrain $common --steps 2 --out pieces
rm pieces/*.safetensors
refuses "pieces/model.safetensors.index.json is there, and no checkpoint to go on from" pretrain $common --steps 2 --out pieces
[ "$(cat pieces/config.json)" = mine ] || fail "a refused start has changed a config.json that was there"
mkdir model
cp whole/model.safetensors model
refuses "model.safetensors is there, and no checkpoint to go on from" pretrain $common --steps 2 --out model
cp whole/run.json model
refuses "model.safetensors is there, and no checkpoint to go on from" pretrain --out model
cmp -s whole/model.safetensors model/model.safetensors || fail "a refused start has changed the model that was there"

# Longer: from step 31 on the learning rates are those of a run of 60; kill -9 or not, the same bytes. Never shorter.
cp -r whole longer
run pretrain --out longer --steps 60 || fail "extend"
run pretrain $common --steps 60 --out sixty || fail "a run of 60"
cmp -s <(sed 1,31d longer/metrics.csv | cut -d, -f1,6) <(sed 1,31d sixty/metrics.csv | cut -d, -f1,6) ||
    fail "an extended run: the learning rates are not those of the longer schedule"
cmp -s <(head -31 longer/metrics.csv) whole/metrics.csv || fail "an extended run: its first rows have changed"
for try in $(seq 20); do
    rm -rf killed-longer
    cp -r whole killed-longer
    killed_at killed-longer/checkpoint-00000033.safetensors pretrain --out killed-longer --steps 60 --save-every 1 --keep 50 &&
        [ ! -e killed-longer/checkpoint-00000060.safetensors ] && break
done
[ $try -lt 20 ] || fail "kill -9 came too late 20 times"
run inspect killed-longer || fail "inspect an extended and killed run"
[ ! -e killed-longer/model.safetensors ] || fail "the model of the shorter run stands for an extended one that was killed"
run generate --weights killed-longer --prompt-ids 1,2,3 --length 16 --steps 4 --output ids || fail "generate from the newest checkpoint"
run pretrain --out killed-longer || fail "resume an extended run"
cmp -s longer/model.safetensors killed-longer/model.safetensors || fail "an extended, killed and resumed run differs"
grep -q '"after": 30' longer/run.json || fail "run.json does not tell where the run was extended"
refuses "it can be made longer, not shorter" pretrain --out longer --steps 50

# From weights.
run pretrain --init-from whole --data data --batch 4 --steps 1 --lr 0 --precision f32 --out from || fail "--init-from"
cmp -s whole/model.safetensors from/model.safetensors || fail "--init-from with a learning rate of 0 changes the weights"
rm -f from/model.safetensors
run_in_root pretrain --out "$dir/from" --steps 2 || fail "go on with a run from weights"
cp -r whole other
run tokenizer train --vocab 290 --out other/tokenizer.json text.txt || fail "another tokenizer"
run pretrain --init-from other --data data --batch 4 --steps 1 --lr 0 --precision f32 --out foreign || fail "--init-from with another tokenizer"
grep -q "note: the tokenizer in .*/other is not the data's" err || fail "--init-from with another tokenizer: not said"
refuses "of family mdm, not arm" pretrain --init-from whole --objective arm --data data --steps 1 --out x

# Defaults: the model's block for --length; --min-lr 0 is 0; validation reads more than one place and says how much.
run pretrain --model tiny.json --data data --batch 4 --steps 20 --min-lr 0 --out defaults || fail "defaults"
grep -q '20 steps of 4 × 32 tokens' err || fail "--length is not the model's block"
grep -q 'validation: 12 of 12 held-out sequences, 5 draws of each: ' err || fail "the validation is not described"
grep -q ', validation [0-9.]* ± [0-9.]*, ' err || fail "the validation has no error: $(cat err)"
[ "$(tail -1 defaults/metrics.csv | cut -d, -f6)" = 0.000000e+00 ] || fail "--min-lr 0 is not 0"

# A folder that is called like a named model does not hide it.
mkdir -p 6
run pretrain --model 6 --data data --steps 1 --batch 1 --length 16 --out named --quiet || fail "a folder called 6"
rm -rf 6 named

refuses "--eps must be between 1e-18 and 1, found '0'" pretrain --model tiny.json --data data --steps 1 --eps 0 --out x
refuses "--beta2 must be between 0 and 0.999999" pretrain --model tiny.json --data data --steps 1 --beta2 1 --out x

# What the run was started without it goes on without.
refuses "was started without it" pretrain --out whole --steps 40 --min-lr 0.1

# Folders with commas in their names, and mixtures: other weights are other data.
cp -r data "data,2"
run pretrain $common --data "data,2" --steps 2 --out comma || fail "a comma in the name of a folder"
run pretrain --config whole/run.json --data "data=2,data,2" --steps 2 --out mixture || fail "a mixture"
run pretrain --out mixture --data "data=2" --data "data,2" --steps 3 || fail "the same mixture in two words"
refuses "weights in the mixture have changed" pretrain --out mixture --data "data=1,data,2" --steps 4
refuses "weights in the mixture have changed" pretrain --out mixture --data data --steps 4
grep -q '"steps": 3' mixture/run.json || fail "run.json was changed by a start that was refused"

# Chunks without a manifest are of the tokenizer beside them, in whatever form it is named; one that cannot be read is none.
cp -r data bare && rm bare/manifest.json
tr a-z b-za <text.txt >shifted.txt
run tokenizer train --vocab 300 --out shifted.json shifted.txt || fail "a tokenizer of other words"
run prepare --tokenizer shifted.json --out shifted shifted.txt && rm shifted/manifest.json || fail "chunks of other words"
refuses "shifted.json: not the one that is in $PWD/bare" pretrain --model tiny.json --data bare --tokenizer shifted.json --steps 1 --out x
refuses "tokenizer.json: not the one that is in $PWD/shifted" pretrain --model tiny.json --data bare,shifted --steps 1 --out x
run prepare --tokenizer "$golden/tokenizers/llama.json" --out forms text.txt && rm forms/manifest.json || fail "chunks of Llama's tokenizer"
sed 's/"vocab_size": 300, "padded_vocab_size": 320, "mask_id": 320/"vocab_size": 424, "padded_vocab_size": 448, "mask_id": 448/' tiny.json >larger.json
run pretrain --model larger.json --data forms --tokenizer "$golden/tokenizers/llama.model" --batch 4 --steps 1 --precision f32 --out form || fail "another form of the tokenizer"
echo '{"model": {"type": "WordPiece"}}' >bare/tokenizer.json
run pretrain --model tiny.json --data bare --vocab 300 --batch 4 --steps 1 --precision f32 --out ids || fail "a tokenizer beside the data that cannot be read"
refuses "bare holds no tokenizer that can be read" pretrain --model tiny.json --data bare --steps 1 --out x
refuses "only BPE" pretrain $common --tokenizer bare --steps 1 --out x

# Settings that cannot be.
refuses "--complementary takes sequences by twos: --batch 7 is odd" pretrain --model tiny.json --data data --steps 1 --batch 7 --complementary --out x
refuses "did you mean '--steps'" pretrain $common --stepz 3 --out x
refuses "give one of --flops, --tokens and --steps" pretrain $common --out x
refuses "below one step" pretrain $common --tokens 5 --out x
refuses "more than 1000000000000 steps" pretrain $common --flops 1e30 --out x
refuses "block size" pretrain --model tiny.json --data data --tokenizer tokenizer.json --steps 3 --length 64 --out x
refuses "was started with" pretrain $common --steps 30 --lr 1e-3 --out whole
[ -e x ] && fail "a refused start leaves a folder"
run tokenizer train --vocab 280 --out other.json text.txt || fail "another tokenizer"
refuses "tokenizer" pretrain --model tiny.json --data data --tokenizer other.json --steps 3 --out x
refuses "not the tokenizer that the run" pretrain --out whole --tokenizer other.json
refuses "nowhere" pretrain --model tiny.json --data nowhere --tokenizer tokenizer.json --steps 3 --length 32 --out x
refuses "no such folder: 'nowhere'" pretrain --model tiny.json --data nowhere --steps 3 --length 32 --out x # before a tokenizer is missed
mkdir folder.json
refuses "folder.json" pretrain --model folder.json --data data --tokenizer tokenizer.json --steps 3 --length 32 --out x
echo file >plain
refuses "plain" pretrain $common --steps 3 --out plain
printf '{"settings": {"steps": "many"}}' >wrong.json
refuses "wrong.json" pretrain --config wrong.json --out x
printf '{"settings": {"stepz": 5}}' >wrong.json
refuses 'did you mean "steps"' pretrain --config wrong.json --out x
[ -e x ] && fail "a refused start leaves a folder"
head -c 100 whole/checkpoint-00000030.safetensors >cut
mv cut whole/checkpoint-00000030.safetensors
cp whole/run.json before.json
refuses "checkpoint-00000030" pretrain --out whole --quiet --steps 90
cmp -s before.json whole/run.json || fail "run.json was overwritten before the checkpoint was checked"

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
