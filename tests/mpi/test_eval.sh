#!/bin/bash
# mdm eval by several ranks: the same files as from one process, whatever the kind of task; it goes on after a stop, counts bad
# items, and what fails on one rank ends all with one line.
here=$(realpath tests/mpi)
. tests/cli/common.sh "$1"
. "$here/common.sh"

cp -r "$golden/tasks/lines" data
mkdir -p data/reverse data/gsm8k data/mt_bench data/perplexity
printf '%s\n' '{"prompt": "Known as Mo Reed,", "completion": " the first to map the sea."}' '{"prompt": "Mo was once", "completion": " A tall one"}' >data/reverse/p2d_prompts_test.jsonl
echo '{"prompt": "He who mapped the sea is", "completion": " Mo Reed"}' >data/reverse/d2p_reverse_prompts_test.jsonl
printf '{"question": "How %s?", "answer": "2 + 3 = 5\\n#### 5"}\n' many much far long old >data/gsm8k/test.jsonl
echo '{"question_id": 81, "category": "math", "turns": ["Add 2 and 3.", "And 4?"]}
{"question_id": 82, "category": "writing", "turns": ["Say hello to the king."]}' >data/mt_bench/question.jsonl
printf 'The king number %d said that he would go away, and the house was near the sea.\n\n' 1 2 3 4 5 6 7 >data/perplexity/a.txt
model="--weights $golden/loglik/mdm --tokenizer $golden/tokenizers/llama.json --precision f32 --threads 1 --data data"
texts="$model --steps 2"
most="$texts --tasks piqa,arc_easy,lambada_standard,boolq,gsm8k,reverse_ntd --mc 32"
others="$texts --tasks perplexity,mtbench --mc 32 --template plain --turns 2"
timeless() { sed -E 's/"(seconds_of_turns|tstamp|seconds(,none|_stderr,none)?)": ?(\[[^]]*\]|"N\/A"|[-+0-9.e]*)//g' "$1"; }
same_results() { # ONE OTHER
    local f
    for f in "$1"/*.json*; do cmp -s <(timeless "$f") <(timeless "$2/${f##*/}") || fail "${f##*/} of $2 differs from that of $1"; done
}

check 0 eval $most --out one
check 0 eval $others --out one
[ "$(ls one/samples_*.jsonl | wc -l)" -eq 8 ] && [ -z "$(find one -name 'samples_*' -empty)" ] || fail "not all tasks have samples: $(ls -l one)"
ranks 3 eval $most --out by-3 || fail "3 ranks"
ranks 3 eval $others --out by-3 || fail "3 ranks, mtbench and perplexity"
same_results one by-3
[ "$(grep -c '^|mtbench' out)" -eq 1 ] || fail "3 ranks: not one table"

# A part, a torn line of a kill -9, the rest by other numbers of ranks. What was answered is not asked again.
ranks 2 eval $most --limit 1 --out parts || fail "--limit"
[ "$(wc -l <parts/samples_reverse_ntd.jsonl)" -eq 2 ] || fail "--limit 1 of two groups: $(cat parts/samples_reverse_ntd.jsonl)"
head -c 60 one/samples_gsm8k.jsonl | tail -c 40 >>parts/samples_gsm8k.jsonl
sed -i 's/"resps":\[\["/&kept /; s/"filtered_resps":\["/&kept /' parts/samples_gsm8k.jsonl
ranks 3 eval $most --out parts && ranks 2 eval $others --out parts || fail "go on with 3 ranks"
head -n 1 parts/samples_gsm8k.jsonl | grep -q 'kept ' || fail "an answer that was there was asked again"
sed -i 's/kept //g' parts/samples_gsm8k.jsonl
"$mdm" eval --rescore parts >out 2>err || fail "--rescore"
same_results one parts

# Bad items: known before anything is computed, or when they are asked; left out and counted.
one_line() { # TEXT: all ranks have ended, with one line; mpirun adds its own
    [ "$(grep -c '^mdm' err)" -eq 1 ] && grep '^mdm' err | grep -qF -- "$1" || fail "$last: expected one line with '$1'"
}
sed -i '2s/How much/&'"$(printf ' and how much%.0s' {1..40})"'/' data/gsm8k/test.jsonl
ranks 2 eval $texts --tasks gsm8k --batch 1 --out bad && fail "a prompt that is too long"
one_line "data/gsm8k/test.jsonl line 2: the prompt has"
[ "$(wc -l <bad/samples_gsm8k.jsonl)" -eq 1 ] || fail "the item before a bad one is not kept"
ranks 2 eval $texts --tasks gsm8k --keep-going --out bad || fail "--keep-going"
grep -q 'gsm8k: 1 bad item was left out' err && grep -q '"skipped": 1' bad/results.json || fail "bad items are not counted"

mkdir -p nothing/gsm8k && sed -n 2p data/gsm8k/test.jsonl >nothing/gsm8k/test.jsonl
ranks 2 eval $texts --data nothing --tasks gsm8k --keep-going --out nothing/out && fail "all items are left out"
one_line "gsm8k: nothing could be evaluated: 1 item left out, the first: nothing/gsm8k/test.jsonl line 1: the prompt has"

# What one rank alone meets: no memory, a full disk, other files.
apart() { # VARIABLE WORDS...: by two ranks, the second one with that variable
    last="mdm ${*:2} by rank 1 with $1"
    mpirun -n 1 "$mdm" "${@:2}" : -n 1 env "$1" "$mdm" "${@:2}" >out 2>err
}
for n in 200 600 700; do # before the first task, in it, and in the second
    apart MDM_FAULT=alloc:$n+ eval $texts --tasks reverse_ntd,gsm8k --keep-going --out "no-memory-$n" && fail "$last: no failure"
    one_line "rank 1 on $(hostname): "
done
MDM_FAULT=write:2+ ranks 2 eval $texts --tasks reverse_ntd --out full && fail "a full disk"
one_line "rank 0 on $(hostname): cannot write"
ranks 2 eval $texts --tasks reverse_ntd --out full || fail "after a full disk"
cmp -s one/samples_reverse_ntd.jsonl full/samples_reverse_ntd.jsonl || fail "after a full disk: other samples"
sed 's/Mo Reed/Jo Reed/' -i data/reverse/p2d_prompts_test.jsonl
cp -r data data-2 && sed 's/Jo Reed/Mo Reed/' -i data-2/reverse/p2d_prompts_test.jsonl
last="two ranks with other data"
mpirun -n 1 "$mdm" eval $texts --tasks reverse_ntd --out other : -n 1 "$mdm" eval $texts --data data-2 --tasks reverse_ntd --out other >out 2>err && fail "$last"
one_line "rank 1 on $(hostname): rank 0 sees other weights, settings or files of reverse_ntd"

# A signal to one rank stops all, with one line, and the same command goes on.
long="$model --tasks perplexity --mc 2048 --length 16 --out stopped"
mpirun -n 2 "$mdm" eval $long >out 2>err & pid=$!
for try in $(seq 200); do [ -s stopped/samples_perplexity.jsonl ] && break; sleep 0.05; done
kill -TERM "$(pid_of 1 $pid)"; wait $pid
[ $? -eq 143 ] || fail "stopped: expected status 143"
[ "$(grep -c 'stopped; what was answered is in stopped' err)" -eq 1 ] || fail "not one line that it was stopped"
ranks 3 eval $long || fail "after a stop"
"$mdm" eval $long --out unstopped >out 2>err || fail "one process"
same_results unstopped stopped
exit $bad
