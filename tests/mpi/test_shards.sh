#!/bin/bash
# --shard: whatever is divided among the ranks, the model has the same bits; so it does where a run goes on with another
# division; fine-tuning too.
here=$(realpath tests/mpi)
. tests/cli/common.sh "$1"
. "$here/common.sh"
make_data

groups="$common --batch 12 --sum-groups 4 --steps 6 --precision bf16 --random-length 0.3"
"$mdm" pretrain $groups --out one >out 2>err || fail "one process"
for n in 1 2 4; do
    for shard in none optimizer full; do
        [ $n = 4 ] && recompute=--recompute || recompute=
        ranks $n pretrain $groups --shard $shard $recompute --out "$shard-$n" || fail "$n ranks, $shard"
        same_state one "$shard-$n"
        cmp -s <(cut -d, -f1-7 one/metrics.csv) <(cut -d, -f1-7 "$shard-$n/metrics.csv") || fail "$n ranks, $shard: other losses"
    done
done

# Four ranks; what three and one make of their checkpoints, divided otherwise.
ranks 4 pretrain $groups --shard full --save-every 2 --keep 9 --out moved || fail "4 ranks, full"
rm moved/checkpoint-0000000[456]* moved/model.safetensors
ranks 3 pretrain --shard optimizer --steps 6 --out moved || fail "go on with 3 ranks"
grep -q 'resuming moved after step 2' err || fail "3 ranks did not go on"
same_state one moved
rm moved/checkpoint-0000000[6]* moved/model.safetensors
"$mdm" pretrain --shard full --out moved >out 2>err || fail "go on alone"
same_state one moved

printf '{"prompt": "the red dog", "completion": "sees a cat"}\n%.0s' $(seq 9) >tune.jsonl
tune="--task completion --weights one --data tune.jsonl --batch 16 --steps 5 --sum-groups 4"
"$mdm" finetune $tune --out tuned >out 2>err || fail "finetune"
ranks 2 finetune $tune --shard full --out tuned-2 || fail "finetune, 2 ranks"
same_state tuned tuned-2
exit $bad
