#!/bin/bash
# mdm generate: golden samples through the command line, text with a small tokenizer, infill, forms of output, refusals.
. tests/cli/common.sh "$1"
generate() { check "$1" generate --threads 1 "${@:2}"; } # STATUS OPTIONS...
refused() { refuses "$1" generate "${@:2}"; out_empty; } # TEXT OPTIONS...

# Golden samples, token for token: for mdm the steps and the guidance of each, for arm greedy decoding.
for model in mdm-mha mdm-gqa mdm-odd; do
    for n in 1 2 3 4 5; do
        # the first "steps" of the file belongs to the optimizer
        generate 0 --weights "$golden/$model" --precision f32 --prompt-ids "$(array $model prompt $n)" --length "$(number $model length $n)" \
            --steps "$(number $model steps $((n + 1)))" --cfg "$(number $model cfg_scale $n)" --output ids
        out_is "$(array $model ids $n)"
    done
done
for model in arm-mha arm-gqa; do
    for n in 1 2 3; do
        generate 0 --weights "$golden/$model" --precision f32 --prompt-ids "$(array $model prompt $n)" --length "$(number $model length $n)" --output ids
        out_is "$(array $model ids $n)"
    done
done

# A tokenizer of 32 tokens beside an mdm and an arm.
for family in mdm arm; do
    cp -r "$golden/$family-mha" $family && chmod -R u+w $family
    cat >$family/tokenizer.json <<'END'
{"version": "1.0", "added_tokens": [{"id": 0, "content": "<|endoftext|>", "special": true, "single_word": false,
  "lstrip": false, "rstrip": false, "normalized": false}], "normalizer": null,
 "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
 "post_processor": null, "decoder": {"type": "ByteLevel"},
 "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
  "fuse_unk": false, "byte_fallback": false, "vocab": {"<|endoftext|>": 0, "A": 1, "B": 2, "C": 3, "a": 4, "b": 5, "c": 6, "d": 7,
  "e": 8, "f": 9, "g": 10, "h": 11, "i": 12, "k": 13, "l": 14, "m": 15, "n": 16, "o": 17, "p": 18, "r": 19, "s": 20, "t": 21,
  "u": 22, "w": 23, "y": 24, "\u0120": 25, "\u010a": 26, ".": 27, "\u0120m": 28, "\u0120of": 29, "\u0120o": 30, "il": 31},
  "merges": ["\u0120 m", "\u0120 o", "\u0120o f", "i l"]}}
END
done

generate 0 --weights mdm --prompt 'A cup of' --length 30 --output ids
grep -qE '^1,25,6,22,18,29(,[0-9]+){24}$' out || fail "$last: the prompt's ids are not where they should be"
err_has 'nfe 64 ('; err_has ' forwards run per sample), 24 tokens in '; err_has ' tokens/s'
generate 0 --weights mdm --prompt 'A cup of' --length 30
out_has 'A cup of'
generate 0 --weights mdm --prompt 'A cup of' --length 12 --output json --cfg 1 --steps 3
out_has '"prompt_tokens":6'; out_has '"nfe":6'; out_has '"text":"A cup of'; out_has '"ids":[1,25,6,22,18,29,'
generate 0 --weights arm --prompt 'A cup of' --length 30 --output ids
grep -q '^1,25,6,22,18,29,' out || fail "$last: the prompt's ids are not where they should be"
generate 0 --weights mdm/model.safetensors --prompt 'A cup' --length 9 # the config and the tokenizer are beside the file

# Infill: gaps anywhere, the rest stays; --length adds masks behind.
generate 0 --weights mdm --infill 'A [[3]] of [[2]]milk' --output ids
grep -qE '^1,[0-9]+,[0-9]+,[0-9]+,29,[0-9]+,[0-9]+,15,31,13$' out || fail "$last: the given tokens are not where they should be"
generate 0 --weights mdm --infill '[[2]] milk' --length 8 --output ids --sampler ancestral --temperature 1
grep -qE '^[0-9]+,[0-9]+,28,31,13(,[0-9]+){3}$' out || fail "$last: the given tokens are not where they should be"

# Samples are a function of the seed and their number, not of the count, the threads or --show.
opts=(--weights mdm --prompt-ids 3,4,5 --length 40 --steps 9 --temperature 1 --precision f32 --output ids)
for sampler in ancestral confidence margin entropy; do
    generate 0 "${opts[@]}" --sampler $sampler --count 4; cp out four
    [ "$(sort -u four | wc -l)" -eq 4 ] || fail "$last: four samples should differ"
    generate 0 "${opts[@]}" --sampler $sampler; [ "$(cat out)" = "$(head -1 four)" ] || fail "$last: the first of four differs"
    generate 0 "${opts[@]}" --sampler $sampler --count 4 --threads 2; cmp -s out four || fail "$last: differs from one thread"
    generate 0 "${opts[@]}" --sampler $sampler --count 4 --seed 1; ! cmp -s out four || fail "$last: the seed changes nothing"
    generate 0 "${opts[@]}" --sampler $sampler --show; [ "$(cat out)" = "$(head -1 four)" ] || fail "$last: --show changes what is printed"
    [ "$(grep -c '^step [1-9]/9: ' err)" -eq 9 ] || fail "$last: expected nine lines of steps"
    ! grep -q $'\e' err || fail "$last: escape sequences where no terminal is"
    cp four "four.$sampler"
done
! cmp -s four.margin four.entropy && ! cmp -s four.margin four.confidence || fail "confidence, margin and entropy should differ"
generate 0 --weights mdm --infill 'A [[2]] milk' --show # 64 steps, two places: only steps that changed something are drawn
drawn=$(grep -c '^step [0-9]*/64: ' err)
[ "$drawn" -ge 1 ] && [ "$drawn" -le 2 ] || fail "$last: $drawn drawn steps for two tokens"
generate 0 --weights arm --prompt 'A cup' --length 9 --show --temperature 1
err_has 'token 6/9: A cup'
! grep -q token out || fail "$last: drawn on standard output"
generate 0 --weights mdm --prompt 'A cup' --length 9 --quiet; err_empty

# Several prompts in one queue: each gets what it gets alone as that sample; order of the lines, lengths, forms.
cat >prompts.jsonl <<'END'
{"prompt": "A cup of"}
{"infill": "A [[3]] of [[2]]milk"}

{"prompt_ids": [3, 4, 5], "length": 12}
{"prompt": "milk", "length": 30}
END
generate 0 --weights mdm --prompts prompts.jsonl --temperature 1 --steps 5 --length 0 --output ids; cp out all
[ "$(wc -l <all)" -eq 4 ] || fail "$last: expected four samples"
generate 0 --weights mdm --prompt 'A cup of' --temperature 1 --steps 5 --output ids; [ "$(cat out)" = "$(sed -n 1p all)" ] || fail "$last: differs from the queue's"
sed -n 2p all | grep -qE '^1,[0-9]+,[0-9]+,[0-9]+,29,[0-9]+,[0-9]+,15,31,13$' || fail "$last: the second is no infill"
sed -n 3p all | grep -qE '^3,4,5(,[0-9]+){9}$' || fail "$last: the third has not its length"
generate 0 --weights mdm --prompts - --temperature 1 --steps 5 --output ids <prompts.jsonl; cmp -s out all || fail "$last: standard input differs from the file"
# A conversation: each prompt is answered before the next is written; a longer one may follow.
converse() { # FILE: its prompts, whose answers in one go are in the file all
    local prompt answer n=0
    coproc talk { "$mdm" generate --threads 1 --weights mdm --prompts - --temperature 1 --steps 5 --output ids 2>/dev/null; }
    while read -r prompt; do
        n=$((n + 1))
        echo "$prompt" >&"${talk[1]}"
        read -r -t 60 answer <&"${talk[0]}" || { fail "no answer to prompt $n of $1 while the input pauses"; break; }
        [ "$answer" = "$(sed -n ${n}p all)" ] || fail "the answer to prompt $n of $1 is '$answer'"
    done < <(grep . "$1")
    exec {talk[1]}>&-
    wait
}
converse prompts.jsonl
printf '%s\n' '{"prompt_ids": [3], "length": 6}' '{"prompt_ids": [4], "length": 30}' >longer.jsonl
generate 0 --weights mdm --prompts longer.jsonl --temperature 1 --steps 5 --output ids; cp out all
converse longer.jsonl
generate 0 --weights mdm --prompts prompts.jsonl --temperature 1 --steps 5 --count 3 --output json
[ "$(wc -l <out)" -eq 12 ] || fail "$last: expected three samples of each"
[ "$(sort -u out | wc -l)" -eq 12 ] || fail "$last: they should differ"
printf '%s\n' '{"prompt": "A cup"}' '{"prompt_ids": [4], "length": 20}' >two.jsonl
generate 0 --weights arm --prompts two.jsonl --temperature 1 --output ids; cp out all
generate 0 --weights arm --prompt 'A cup' --temperature 1 --output ids; [ "$(cat out)" = "$(head -1 all)" ] || fail "$last: differs from the queue's"
generate 0 --weights mdm --prompts /dev/null; out_empty
# What stands before a bad line is answered, as without it.
{ cat prompts.jsonl; echo nonsense; echo '{"prompt": "milk"}'; } >cut.jsonl
generate 0 --weights mdm --prompts prompts.jsonl --temperature 1 --steps 5 --length 0 --output ids; cp out all
for line in nonsense '{"prompt_ids": [3, 100000]}' '{"prompt": "A cup of", "length": 1}'; do
    sed "s/^nonsense/$line/" cut.jsonl >bad.jsonl
    generate 2 --weights mdm --prompts bad.jsonl --temperature 1 --steps 5 --length 0 --output ids --quiet
    err_one_line
    err_has 'bad.jsonl line 6: '
    cmp -s out all || fail "$last: the prompts before the bad line should be answered"
done
for output in ids text json; do
    ends_on_full_disk '{"prompt_ids": [3], "length": 6}' generate --threads 1 --weights mdm --prompts - --steps 5 --output $output --quiet
done

# Where an arm ends: at the config's id, the tokenizer's, the one given; nothing to go on from is a document's end.
start=$(array arm-mha prompt 1) whole=$(array arm-mha ids 1)
generate 0 --weights "$golden/arm-mha" --precision f32 --prompt-ids "$start" --length 40 --output ids --end-id 3
out_is "${whole%%,3,*},3"
generate 0 --weights "$golden/arm-mha" --precision f32 --prompt-ids "$start" --length 40 --output ids --end-id -1
[ "$(tr , '\n' <out | wc -l)" -eq 40 ] || fail "$last: should fill its length"
generate 0 --weights arm --prompt '' --length 9 --output ids
grep -q '^0,' out || fail "$last: should begin with the end id"

generate 0 --help; out_has 'Usage: mdm generate'; out_has '--infill'
tr -s ' \n' ' ' <out | grep -qF 'the last two of a short gap often come in one step' || fail "the help leaves out what confidence does with short gaps"

refused 'give one of --prompt' --weights mdm
refused 'give one of --prompt' --weights mdm --prompt a --prompt-ids 1
refused 'give one of --prompt' --weights mdm --prompt a --prompts a
refused '--weights FILE|RUN is required' --prompt a
refused 'nowhere' --weights nowhere --prompt a
refused 'no tokenizer in' --weights "$golden/mdm-odd" --prompt a
refused "found '1;2'" --weights mdm --prompt-ids '1;2'
refused 'ids of this model are 0 ... 40' --weights mdm --prompt-ids 1,41
refused 'ids of this model are 0 ... 39' --weights arm --prompt-ids 1,40
refused 'shorter than the prompt' --weights mdm --prompt-ids 1,2,3 --length 2
refused 'block_size' --weights mdm --prompt-ids 1,2,3 --length 1000
refused '--infill is for models of family mdm' --weights arm --infill 'a [[2]]'
refused '--cfg is for models of family mdm' --weights arm --prompt a --cfg 1
refused 'the prompt is empty' --weights arm --prompt-ids ''
refused '--end-id is for autoregressive' --weights mdm --prompt a --end-id 3
refused 'no gap' --weights mdm --infill ''
refused 'no gap' --weights mdm --infill 'A cup of milk'
refused "[[n]], with n tokens from 1 to 1000000; found '[[a]] b" --weights mdm --infill 'a [[a]] b'
refused "found '[[0]]" --weights mdm --infill 'a [[0]] b'
refused 'arm' --weights mdm --family arm --prompt a
prompts() { printf '%s\n' "$2" >bad.jsonl; refused "$1" --prompts bad.jsonl "${@:3}"; } # TEXT LINE OPTIONS...
prompts 'bad.jsonl line 1: "prompt_ids"[1] must be a token id' '{"prompt_ids": [1, 100000]}' --weights mdm
prompts 'bad.jsonl line 1: expected one of' '{"prompt": "a", "infill": "[[1]]"}' --weights mdm
prompts 'bad.jsonl line 1: expected one of' '{"length": 4}' --weights mdm
prompts 'line 2: bad JSON' $'\nnonsense' --weights mdm
prompts 'line 1: gaps are for models of family mdm' '{"infill": "a [[2]]"}' --weights arm
prompts 'needs a tokenizer' '{"prompt": "a"}' --weights "$golden/mdm-odd"
prompts 'shorter than the prompt' '{"prompt_ids": [1,2,3], "length": 2}' --weights mdm
prompts '--show draws one sample' '{"prompt": "a"}' --weights mdm --show
refused 'leave out --count' --weights mdm --prompt a --count 2 --show
refused '--steps must be' --weights mdm --prompt a --steps 0
refused '--temperature' --weights mdm --prompt a --temperature -1
exit $bad
