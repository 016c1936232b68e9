#!/bin/sh
# The demo: WordNet's dictionary → tokenizer → chunks → a small masked diffusion model → definitions, words and gaps.
#     recipes/demo.sh MDM        (make demo)
# Everything lands in ./demo-run. The number of steps is chosen from the speed of this machine, to train for about three minutes.
set -eu
mdm=$1
run=demo-run
seconds=${DEMO_SECONDS:-160}
began=$(date +%s)
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

rm -rf "$run"
mkdir -p "$run"

say "1. Text: short entries of WordNet's dictionary about people, animals, things and food"
for part in noun; do
    awk -F' [|] ' '/^[0-9]/ {
        split($1, field, " "); kind = field[2]; word = field[5]; gloss = $2
        if (kind != "05" && kind != "06" && kind != "13" && kind != "18") next      # animal, artifact, food, person
        gsub("_", " ", word); sub(/;.*$/, "", gloss); sub(/:.*$/, "", gloss); gsub(/[()]/, "", gloss); sub(/ +$/, "", gloss)
        if (length(word) + length(gloss) > 64 || gloss !~ / .* /) next
        printf "%s: %s\n\n", word, gloss
    }' "/usr/share/wordnet/data.$part"
done > "$run/dictionary.txt"
grep -c ': ' "$run/dictionary.txt" | sed 's/$/ entries, for example:/'
awk 'NF && ++n % 3001 == 7 {print "    " $0}' "$run/dictionary.txt"

say "2. A byte-level BPE tokenizer of its own, and token chunks with 2 % held out"
"$mdm" tokenizer train --vocab 2048 --out "$run/tokenizer.json" "$run/dictionary.txt"
"$mdm" prepare --tokenizer "$run/tokenizer.json" --out "$run/data" --validation 0.02 "$run/dictionary.txt"

say "3. Training a masked diffusion model for about $((seconds / 60)) minutes ($(basename "$0" .sh).json is its shape)"
set -- --objective mdm --model recipes/demo.json --data "$run/data" --batch 64 --length 64 --lr 3e-3 --eval-every 200 --mc 8 --valid-sequences 64
"$mdm" pretrain "$@" --out "$run/speed" --steps 12 --quiet
rate=$(awk -F, 'NR > 3 {print $8}' "$run/speed/metrics.csv" | sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}')
steps=$(awk -v r="$rate" -v s="$seconds" 'BEGIN {n = int(r * s / (64 * 64)); if (n < 50) n = 50; print n}')
"$mdm" pretrain "$@" --out "$run/model" --steps "$steps" --save-every "$steps"

write() { "$mdm" generate --weights "$run/model" --sampler confidence --temperature 0 --show "$@"; }
end='<|endoftext|>'
say "4. A definition for a word"
for word in baker "sports car" sparrow; do write --steps 12 --infill "$end$word: [[10]]$end"; done
say "5. A word for a definition, right to left: what a left-to-right model cannot do"
write --steps 4 --infill "$end[[2]]: someone who takes photographs professionally$end"
write --steps 4 --infill "$end[[2]]: a person who plays the violin$end"
say "6. A gap in the middle"
write --steps 4 --infill "${end}tavern: a building with a bar that is [[3]] to sell alcoholic drinks$end"

say "7. What came of it"
"$mdm" plot "$run/model" --out "$run/loss.svg"
tail -n 1 "$run/model/metrics.csv" | awk -F, '{printf "held-out loss %.3f nats per token after %d steps, %.0f k tokens; %.0f tokens/s\n", $5, $1, $2 / 1000, $8}'
echo "loss curve: $run/loss.svg      all of it took $(($(date +%s) - began)) s"
