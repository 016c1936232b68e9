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

say "1. Text: entries of WordNet's dictionary that say in a few words who somebody is, in 60 shuffled copies"
awk -F' [|] ' '/^[0-9]/ {
    split($1, field, " "); kind = field[2]; word = field[5]; gloss = $2
    gsub("_", " ", word); sub(/;.*$/, "", gloss); sub(/:.*$/, "", gloss); gsub(/[()]/, "", gloss); sub(/ +$/, "", gloss)
    if (kind != "18" || length(word) + length(gloss) > 34 || word ~ /[A-Z ]/) next    # 18: the file of persons
    if (word " " gloss ~ /sex|fellat|homosex|prostitu|drugs|kill|defec|urinat|vomit|intox|dick/) next    # for everybody
    if (gloss ~ /^(a person|someone) who /) printf "%s: %s\n", word, gloss
}' /usr/share/wordnet/data.noun > "$run/entries.txt"
awk '{entry[NR] = $0} END {
    srand(1)
    for (copy = 0; copy < 60; copy++) {
        for (i = NR; i > 1; i--) { j = 1 + int(rand() * i); swap = entry[i]; entry[i] = entry[j]; entry[j] = swap }
        for (i = 1; i <= NR; i++) printf "%s\n\n", entry[i]
    }
}' "$run/entries.txt" > "$run/dictionary.txt"
awk 'END {print NR " entries, for example:"}' "$run/entries.txt"
awk 'NR % 40 == 7 {print "    " $0}' "$run/entries.txt"

say "2. A byte-level BPE tokenizer of its own, and token chunks with a few entries held out"
"$mdm" tokenizer train --vocab 1536 --min-count 1 --out "$run/tokenizer.json" "$run/dictionary.txt"
"$mdm" prepare --tokenizer "$run/tokenizer.json" --out "$run/data" --validation 0.04 "$run/dictionary.txt"

say "3. A masked diffusion model of 0.9 M parameters, 0.5 M of them in its layers, trained for about $seconds seconds"
batch=48 length=32
set -- --objective mdm --model recipes/demo.json --data "$run/data" --batch $batch --length $length --lr 1e-3 \
    --eval-every 500
"$mdm" pretrain "$@" --out "$run/speed" --steps 100 --quiet
rate=$(awk -F, 'NR > 10 {print $8}' "$run/speed/metrics.csv" | sort -n | awk '{r[NR] = $1} END {print r[int((NR + 1) / 2)]}')
steps=$(awk -v r="$rate" -v s="$seconds" -v t=$((batch * length)) 'BEGIN {n = int(0.95 * r * s / t); print n < 50 ? 50 : n}')
"$mdm" pretrain "$@" --out "$run/model" --steps "$steps" --save-every "$steps"

infill() { "$mdm" generate --weights "$run/model" --sampler confidence "$@"; }
end='<|endoftext|>'
say "4. A definition for a word"
for word in bugler homeowner redhead; do infill --show --steps 5 --infill "$end$word: [[5]]$end"; done
say "5. A word for a definition: what a left-to-right model cannot do"
for definition in "someone who sells fish" "someone who plays a drum" "a person who is very poor"; do
    infill --show --steps 2 --infill "$end[[1]]: $definition$end"
done
say "6. A gap in the middle"
for line in "milkman: someone who [[1]] milk" "busman: [[2]] drives a bus"; do infill --show --steps 2 --infill "$end$line$end"; done

say "7. What came of it"
right=0
while IFS= read -r entry; do
    if infill --steps 1 --infill "$end[[1]]: ${entry#*: }$end" 2> "$run/generate.log" < /dev/null | grep -qxF "$entry"; then
        right=$((right + 1))
    fi
done < "$run/entries.txt"
awk -v r=$right 'END {print "asked for the word of each of the " NR " definitions, the held-out ones too: " r " right"}' "$run/entries.txt"
"$mdm" plot "$run/model" --out "$run/loss.svg"
tail -n 1 "$run/model/metrics.csv" | awk -F, '{printf "held-out loss %.3f nats per token after %d steps, %.0f k tokens; %.0f tokens/s\n", $5, $1, $2 / 1000, $8}'
echo "loss curve: $run/loss.svg      all of it took $(($(date +%s) - began)) s"
