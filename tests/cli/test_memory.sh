#!/bin/bash
# Too little address space, from hardly enough to start the program up to enough: one line and status 2, at every size. Nothing
# may run out of memory where no error can be told, as inside oneDNN or OpenMP.
. tests/cli/common.sh "$1"

if ! (ulimit -v 1000000 && "$mdm" models >/dev/null 2>&1); then
    echo "SKIP a program with AddressSanitizer cannot live in limited address space"
    exit 0
fi

cat >tiny.json <<'END'
{"family": "mdm", "block_size": 128, "vocab_size": 300, "padded_vocab_size": 320, "mask_id": 320, "n_layer": 2, "n_head": 4,
 "n_query_groups": 4, "n_embd": 128, "intermediate_size": 640, "norm_eps": 1e-5, "rope_bf16": true}
END
sed 's/"family": "mdm"/"family": "arm"/; s/"mask_id": 320,//' tiny.json >tiny_arm.json
for i in $(seq 400); do echo "line $i of a text that is long enough: $((i * i)) and $((i * 7919))"; done >text.txt
check 0 tokenizer train --vocab 300 --out tokenizer.json text.txt
check 0 prepare --tokenizer tokenizer.json --out data --validation 0.1 text.txt
for family in mdm arm; do
    config=tiny.json
    [ $family = arm ] && config=tiny_arm.json
    check 0 pretrain --objective $family --model $config --data data --tokenizer tokenizer.json --out run-$family --steps 1 --batch 2 \
        --length 64 --quiet
done
echo '{"context": "line 12 of", "continuation": " a text"}' >items.jsonl

# From 80 MB in steps until it works twice running. The threads' own places in memory differ from run to run.
sweep() { # STEP WORDS...
    local size=80000 works=0 step=$1
    shift
    while [ $works -lt 2 ]; do
        rm -rf again
        (ulimit -v $size && exec "$mdm" "$@" >out 2>err)
        status=$?
        last="mdm $* with $size KiB"
        if [ $status -eq 0 ]; then
            works=$((works + 1))
        else
            works=0
            [ $status -eq 2 ] || fail "$last: status $status, expected 0 or 2"
            err_one_line
            grep -qE 'out of memory|Cannot allocate memory|can be started' err || fail "$last: stderr does not speak of memory"
        fi
        size=$((size + step))
        [ $size -lt 1000000 ] || { fail "$last: does not work with 1 GB either"; return; }
    done
}
sweep 5000 generate --weights run-mdm --prompt line --length 20 --steps 3 --threads 2
sweep 5000 generate --weights run-arm --prompt line --length 8 --threads 2
sweep 5000 score --weights run-mdm --likelihood chain --threads 2 items.jsonl
sweep 5000 score --weights run-arm --threads 2 items.jsonl
sweep 5000 pretrain --objective arm --model tiny_arm.json --data data --tokenizer tokenizer.json --out again --steps 1 --batch 2 \
    --length 64 --quiet --threads 2
exit $bad
