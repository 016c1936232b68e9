#!/bin/sh
# The demo: WordNet's dictionary → tokenizer → chunks → a small masked diffusion model → definitions, words and gaps.
#     recipes/demo.sh MDM        (make demo)
# Everything lands in ./demo-run. The number of steps is chosen from the speed of this machine, to train for about DEMO_SECONDS (170).
set -eu
mdm=$1
run=demo-run
seconds=${DEMO_SECONDS:-170}
began=$(date +%s)
if [ -t 1 ]; then bold='\033[1m' plain='\033[0m'; else bold='' plain=''; fi
say() { printf "\n$bold%s$plain\n" "$*"; }

rm -rf "$run"
mkdir -p "$run"

say "1. Text: entries of WordNet's dictionary that say who somebody is"
awk -F' [|] ' '/^[0-9]/ {
    split($1, field, " "); kind = field[2]; word = field[5]; gloss = $2
    gsub("_", " ", word); sub(/;.*$/, "", gloss); sub(/:.*$/, "", gloss); gsub(/[()]/, "", gloss); sub(/ +$/, "", gloss)
    if (kind != "18" || length(word) + length(gloss) > 44 || word ~ /[A-Z ]/) next    # 18: the file of persons
    if (gloss ~ /sex|fellat|homosex|prostitu|drugs|kill/) next    # a demo for everybody
    if (gloss ~ /^(a person|someone) who /) printf "%s: %s\n\n", word, gloss
}' /usr/share/wordnet/data.noun > "$run/dictionary.txt"
grep -c ': ' "$run/dictionary.txt" | sed 's/$/ entries, for example:/'
awk 'NF && ++n % 101 == 7 {print "    " $0}' "$run/dictionary.txt"

say "2. A byte-level BPE tokenizer of its own, and token chunks with 4 % held out"
"$mdm" tokenizer train --vocab 3072 --min-count 1 --out "$run/tokenizer.json" "$run/dictionary.txt"
"$mdm" prepare --tokenizer "$run/tokenizer.json" --out "$run/data" --validation 0.04 "$run/dictionary.txt"

say "3. A masked diffusion model of 1.3 M parameters, 0.5 M of them in its layers, trained for about $seconds seconds"
set -- --objective mdm --model recipes/demo.json --data "$run/data" --batch 64 --length 32 --random-length 0.2 --lr 2.5e-3 \
    --eval-every 200 --mc 32 --valid-sequences 4
"$mdm" pretrain "$@" --out "$run/speed" --steps 30 --quiet
rate=$(awk -F, 'NR > 10 {print $8}' "$run/speed/metrics.csv" | sort -n | tail -n 1)
steps=$(awk -v r="$rate" -v s="$seconds" 'BEGIN {n = int(0.9 * r * s / (64 * 32)); if (n < 50) n = 50; print n}')
"$mdm" pretrain "$@" --out "$run/model" --steps "$steps" --save-every "$steps"

write() { "$mdm" generate --weights "$run/model" --sampler confidence --show "$@"; }
end='<|endoftext|>'
say "4. A definition for a word"
for word in baker boatbuilder redhead; do write --steps 5 --infill "$end$word: [[5]]$end"; done
say "5. A word for a definition: what a left-to-right model cannot do"
for definition in "someone who has red hair" "a person who builds boats" "a person who carries a message"; do
    write --steps 2 --infill "$end[[1]]: $definition$end"
done
say "6. A gap in the middle"
write --steps 1 --infill "${end}punter: someone who [[1]] a boat with a pole$end"

say "7. What came of it"
"$mdm" plot "$run/model" --out "$run/loss.svg"
tail -n 1 "$run/model/metrics.csv" | awk -F, '{printf "held-out loss %.3f nats per token after %d steps, %.0f k tokens; %.0f tokens/s\n", $5, $1, $2 / 1000, $8}'
echo "loss curve: $run/loss.svg      all of it took $(($(date +%s) - began)) s"
