#!/bin/bash
# Cheaper training, measured: small MDMs trained on text by the published recipe and by what departs from it, at equal
# compute and at equal time, and how much of both the published recipe needs for the same loss (docs/training.md has what
# came of it).
#
#     bench/recipes.sh OUT TEXT...            train what is missing, then print the table of OUT/results.csv
#     ROWS='published fast' STEPS=1000 SEEDS='1 2 3' bench/recipes.sh OUT TEXT...       some of it
#     RUN='chrt -i 0' bench/recipes.sh …      a word before each training
#
# A training is one line of results.csv and is not done again. OUT/pace.csv has the processor's time of a step, from two
# short runs of different lengths; delete it to measure again. One thread: half a minute of a core for 1000 steps.
# Validation is the likelihood bound whatever was trained on, over the same 1024 sequences and 8 masks of each.
set -eu
out=$1; shift
mdm=${MDM:-build/mdm}
rows=$(grep -v '^#' <<'END'
published           --lr 1e-3
published-5e-4      --lr 5e-4
published-2e-3      --lr 2e-3
published-4e-3      --lr 4e-3
published-8e-3      --lr 8e-3
stratified          --lr 1e-3 --stratified
complementary       --lr 1e-3 --complementary
flatten             --lr 1e-3 --flatten 1
decay               --lr 1e-3 --decay 0.5 --min-lr 0
muon                --lr 1e-3 --optimizer muon
muon-8e-3           --lr 8e-3 --optimizer muon
bell                --lr 1e-3 --bell 1
bell-8e-3           --lr 8e-3 --bell 1
bell-strat          --lr 1e-3 --bell 1 --stratified
bell-strat-2e-3     --lr 2e-3 --bell 1 --stratified
fast-strat-2e-3     --lr 2e-3 --recipe fast --stratified
fast-strat-4e-3     --lr 4e-3 --recipe fast --stratified
fast-strat-8e-3     --lr 8e-3 --recipe fast --stratified
fast2-strat-2e-3    --lr 2e-3 --recipe fast --bell 2 --stratified
fast2-strat-4e-3    --lr 4e-3 --recipe fast --bell 2 --stratified
fast                --recipe fast
fast-8e-3           --lr 8e-3 --recipe fast
fast-1.6e-2         --lr 1.6e-2 --recipe fast
fast-decay          --recipe fast --decay 0.5 --min-lr 0
END
)
STEPS=${STEPS:-1000 3000} SEEDS=${SEEDS:-1 2 3} ROWS=${ROWS:-$(echo "$rows" | awk '{ print $1 }')}

mkdir -p "$out/runs"
[ -e "$out/tokenizer.json" ] || $mdm tokenizer train --quiet --vocab 4096 --out "$out/tokenizer.json" "$@"
[ -e "$out/data/manifest.json" ] || $mdm prepare --quiet --tokenizer "$out/tokenizer.json" --out "$out/data" --validation 0.05 "$@"
echo '{"family": "mdm", "block_size": 128, "vocab_size": 4096, "padded_vocab_size": 4096, "mask_id": 4096, "n_layer": 2,
"n_head": 1, "n_query_groups": 1, "n_embd": 64, "intermediate_size": 256, "norm_eps": 1e-05, "rope_bf16": true}' >"$out/model.json"

train() { # FOLDER STEPS OPTIONS...: prints loss and its standard error
    local folder=$1 steps=$2; shift 2
    rm -rf "$folder"
    ${RUN:-} $mdm pretrain --quiet --model "$out/model.json" --data "$out/data" --out "$folder" --steps "$steps" --batch 32 --length 128 \
        --threads 1 --valid-sequences 1024 --mc 8 --eval-every 1000000 --save-every 1000000 "$@" >&2 || return 1
    awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i } END { print $at["valid_loss"] "," $at["valid_error"] }' "$folder/metrics.csv"
    rm -f "$folder"/*.safetensors
}

[ -e "$out/results.csv" ] || echo recipe,steps,seed,loss,error >"$out/results.csv"
for steps in $STEPS; do for seed in $SEEDS; do for row in $ROWS; do
    options=$(echo "$rows" | awk -v row="$row" '$1 == row { $1 = ""; print }')
    [ -n "$options" ] || { echo "recipes: no row is called $row" >&2; exit 2; }
    grep -q "^$row,$steps,$seed," "$out/results.csv" && continue
    # shellcheck disable=SC2086
    line=$(train "$out/runs/$row-$steps-$seed" "$steps" --seed "$seed" $options) || exit 1
    [ "${line%,*}" ] || { echo "recipes: no validation loss: texts need blank lines between their paragraphs" >&2; exit 2; }
    echo "$row,$steps,$seed,$line" >>"$out/results.csv"
done; done; done

processor_seconds() { # STEPS OPTIONS...
    local TIMEFORMAT=%U
    { time train "$out/runs/pace" "$@" --valid-sequences 1 --mc 1 >"$out/pace.out" 2>&1; } 2>&1
}
for row in $(cut -d, -f1 "$out/results.csv" | sed 1d | sort -u); do
    grep -qs "^$row," "$out/pace.csv" && continue
    options=$(echo "$rows" | awk -v row="$row" '$1 == row { $1 = ""; print }')
    # shellcheck disable=SC2086
    short=$(processor_seconds 20 $options) long=$(processor_seconds 220 $options)
    echo "$row,$(awk -v a="$short" -v b="$long" 'BEGIN { print (b - a) / 200 }')" >>"$out/pace.csv"
done

# The published recipe's loss against ln steps, by straight lines between its budgets, says how many steps a loss takes, and what
# loss a time brings: its mean over the seeds of the row.
awk -F, '
FILENAME ~ /pace/ { pace[$1] = $2; next }
FNR == 1 { next }
{ k = $1 "," $2; n[k]++; sum[k] += $4; square[k] += $4 * $4; error[k] += $5; seeds[k] = seeds[k] " " $3; of[k "," $3] = $4
  if (!($2 in budget)) { budget[$2]; order[++budgets] = $2 + 0 }
  if (!($1 in recipe)) { recipe[$1]; name[++recipes] = $1 } }
function take_curve(k,   i, j, m, v, of_row, p) { # of the published recipe, by the seeds of k
    known = 0; delete at; delete curve; m = split(seeds[k], of_row, " ")
    for (i = 1; i <= budgets; i++) {
        v = 0
        for (j = 1; j <= m; j++) { p = "published," order[i] "," of_row[j]; if (!(p in of)) break; v += of[p] }
        if (j > m) { at[++known] = order[i]; curve[known] = v / m } } }
function needed(l,   i, a) { # steps of the published recipe for loss l
    for (i = 1; i < known; i++) if (l <= curve[i] && l >= curve[i + 1]) {
        a = (curve[i] - l) / (curve[i] - curve[i + 1]); return at[i] * (at[i + 1] / at[i]) ^ a }
    return l < curve[known] ? at[known] : at[1] }
function bound(l) { return l < curve[known] ? ">" : l > curve[1] ? "<" : "" }
function reached(s,   i) { # its loss after s steps
    for (i = 1; i < known; i++) if (s >= at[i] && s <= at[i + 1])
        return sprintf("%.4f", curve[i] + (curve[i + 1] - curve[i]) * log(s / at[i]) / log(at[i + 1] / at[i]))
    return s < at[1] ? sprintf(">%.4f", curve[1]) : sprintf("<%.4f", curve[known]) }
END {
    for (i = 2; i <= budgets; i++) for (j = i; j > 1 && order[j] < order[j - 1]; j--) { t = order[j]; order[j] = order[j - 1]; order[j - 1] = t }
    printf "%-18s %6s %6s %8s %8s %8s %10s %8s %8s %10s\n", "recipe", "steps", "seeds", "loss", "spread", "error", "published", "compute", "time", "same time"
    for (b = 1; b <= budgets; b++) for (r = 1; r <= recipes; r++) {
        k = name[r] "," order[b]; if (!(k in n)) continue
        take_curve(k); l = sum[k] / n[k]; v = n[k] > 1 ? sqrt((square[k] - n[k] * l * l) / (n[k] - 1) + 1e-18) : 0; s = needed(l)
        slow = pace["published"] > 0 && pace[name[r]] > 0 ? pace[name[r]] / pace["published"] : 1
        if (!known) { printf "%-18s %6d %6d %8.4f %8s %8.4f\n", name[r], order[b], n[k], l, (n[k] > 1 ? sprintf("%.4f", v) : ""), error[k] / n[k]; continue }
        printf "%-18s %6d %6d %8.4f %8s %8.4f %10s %8s %8s %10s\n", name[r], order[b], n[k], l, (n[k] > 1 ? sprintf("%.4f", v) : ""), error[k] / n[k],
            bound(l) sprintf("%.0f", s), bound(l) sprintf("%.2f", s / order[b]), bound(l) sprintf("%.2f", s / order[b] / slow),
            reached(order[b] * slow) } }
' "$out/pace.csv" "$out/results.csv"
