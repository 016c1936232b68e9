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

# Gradients on their way in bf16: other bits, but the same whatever is divided; without groups nearly those of one process.
narrow="$common --batch 12 --steps 6 --precision f32 --wire-gradients bf16"
"$mdm" pretrain $narrow --sum-groups 4 --out narrow >out 2>err || fail "one process, bf16 gradients"
for shard in none full; do
    ranks 3 pretrain $narrow --sum-groups 4 --shard $shard --out "narrow-$shard" || fail "bf16 gradients, $shard"
    same_state narrow "narrow-$shard"
    ranks 2 pretrain $narrow --shard $shard --out "loose-$shard" || fail "bf16 gradients without groups, $shard"
    paste -d, <(cut -d, -f4 narrow/metrics.csv) <(cut -d, -f4 "loose-$shard/metrics.csv") | awk -F, 'NR > 1 { n++; d = $1 / $2 - 1; if (d < -1e-3 || d > 1e-3) bad = 1 } END { exit bad || n != 6 }' ||
        fail "bf16 gradients without groups, $shard: other losses"
done
"$mdm" pretrain --wire-gradients f32 --steps 8 --out narrow >out 2>err && fail "a run changes what travels"
grep -q 'wire-gradients' err || fail "a run changes what travels: $(cat err)"

# Muon: each matrix is made orthogonal by one rank.
cheap="$common --batch 12 --sum-groups 4 --steps 6 --precision bf16 --recipe fast"
"$mdm" pretrain $cheap --out cheap >out 2>err || fail "one process, fast"
for shard in none optimizer full; do
    ranks 4 pretrain $cheap --shard $shard --out "cheap-$shard" || fail "fast, $shard"
    same_state cheap "cheap-$shard"
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
