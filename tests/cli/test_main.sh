#!/bin/bash
# The command table: help, version, unknown words, exit statuses, and what goes to which stream.
. tests/cli/common.sh "$1"

check 0 --version; out_has 'mdm 0.1'; err_empty
check 0 help; out_has 'Usage: mdm COMMAND'; err_empty
cp out help.txt
check 0 --help; cmp -s out help.txt || fail "--help differs from help"
check 0 -h; cmp -s out help.txt || fail "-h differs from help"
check 2; err_has 'Usage: mdm COMMAND'; out_empty

check 2 hlep; out_empty; err_has "mdm: unknown command 'hlep'; did you mean 'mdm help'?"; err_one_line
check 2 zzzzzzzzzz; out_empty; err_has "'mdm help' lists them"; err_one_line
check 2 help zzzzzzzzzz; err_has "unknown command 'zzzzzzzzzz'"; err_one_line
check 2 --verbose; out_empty; err_has "unknown option '--verbose'"; err_one_line
check 2 $'bad\nname\e[31m'; err_has 'bad?name?[31m'; err_one_line
check 2 ''; err_one_line

# Every command of the table: help by both ways, an unknown option, an option that is nearly right.
names=$(sed -n 's/^  \([a-z][a-z0-9-]*\)  *.*/\1/p' help.txt)
for name in $names; do
    check 0 "$name" --help; out_has "Usage: mdm $name"; err_empty
    cp out "$name.help"
    check 0 help "$name"; cmp -s out "$name.help" || fail "help $name differs from $name --help"
    check 2 "$name" --zzzzzzzzzzzz; out_empty; err_has "mdm $name: unknown option '--zzzzzzzzzzzz'"; err_one_line
    check 2 "$name" --hepl; err_has "did you mean '--help'?"; err_one_line
    grep -q -- '--quiet .*results and errors only' "$name.help" || fail "$name --help: no --quiet"
    if grep -q -- '--threads' "$name.help"; then # one meaning of 0 and one default for all
        grep -A1 -- '--threads N .*0: all cores' "$name.help" | tr '\n' ' ' | grep -q '(default 0)' || fail "$name --help: --threads"
        check 2 "$name" --threads 0; if grep -q -- '--threads must' err; then fail "$name --threads 0 is refused"; fi
    fi
    [ "$(awk 'length > 120' "$name.help" | wc -l)" -eq 0 ] || fail "$name --help: a line is longer than 120 columns"
done

# What `make install` asks for: a page for each command and verb without a line that troff would not take as text or as a
# known request, and a completion that offers commands, verbs, options, and the words of a choice.
check 0 help --man; out_has '.TH mdm 1'; out_has 'mdm\-score'
for name in $names; do
    check 0 help --man "$name"; out_has ".TH \"mdm\\-$name\""; out_has '.SH NAME'; out_has '\fB\-\-quiet'
    out_has '1 a training that diverged'
    if grep '^[.'"'"']' out | grep -qvE '^\.(TH|SH|TP|nf|fi)'; then fail "help --man $name: $(grep '^\.' out)"; fi
done
check 0 help --man tokenizer; out_has '.TH "mdm\-tokenizer\-train"'
check 0 help --man judge; out_has '.TH "mdm\-judge"'; out_has '.TH "mdm\-judge\-show"'
check 2 help --man zzzzzzzzz; err_has 'unknown command'
check 0 tokenizer train --help; cp out verb.help
check 0 help tokenizer train; cmp -s out verb.help || fail "help tokenizer train differs from tokenizer train --help"
check 2 help tokenizer trian; err_has "did you mean 'train'?"; err_one_line
check 0 help --completion
cp out completion.bash
bash -n completion.bash || fail "the completion is no bash"
completes() { # WANT WORDS...: the words offered for the last of WORDS
    local got
    got=$(. ./completion.bash; COMP_WORDS=("${@:2}") COMP_CWORD=$(($# - 2)); _mdm; echo "${COMPREPLY[*]}")
    [ "$got" = "$1" ] || fail "completion of '${*:2}': '$got', expected '$1'"
}
completes 'prepare pretrain' mdm pre
completes '--sampler' mdm generate --sam
completes 'steps tokens flops cfg tasks' mdm plot --x ''
completes 'train encode decode' mdm tokenizer ''
completes 'train' mdm tokenizer t
completes '--vocab' mdm tokenizer train --v
completes 'prepare pretrain' mdm help pre
completes 'train' mdm help tokenizer t
completes 'help.txt' mdm prepare help.t
completes 'help.txt' mdm tokenizer train --out help.t

# --quiet: results and errors, nothing else. Without it these say how long they took.
ask() { echo '{"prefix": [1, 2], "target": [3]}' >in; check 0 "$@" <in; }
for quiet in '' --quiet; do
    ask score --weights "$golden/mdm-mha" --likelihood chain --threads 0 $quiet; out_has '"nll"'
    if [ $quiet ]; then err_empty; else err_has '1 item in'; fi
    ask generate --weights "$golden/mdm-mha" --prompt-ids 1,2 --length 8 --steps 2 --threads 0 $quiet; out_has ','
    if [ $quiet ]; then err_empty; else err_has 'nfe 2'; fi
done

# A disk without room is an error, not a silence.
if [ -c /dev/full ]; then
    "$mdm" help >/dev/full 2>err; [ $? -eq 2 ] || fail "help to a full disk: expected status 2"
    grep -q 'cannot write standard output' err || fail "help to a full disk: no message"
fi
# One of several processes of a launcher, but without MPI: each would do all of the work. A batch job of one's own is none.
last="mdm models"
for signs in OMPI_COMM_WORLD_SIZE=4 'PMI_RANK=0 PMI_SIZE=4' 'PMIX_RANK=0 SLURM_STEP_NUM_TASKS=4'; do
    env $signs "$mdm" models >out 2>err && fail "$signs: accepted"
    err_has 'started as one of 4 processes, but this program was built without MPI'
    err_one_line
done
for signs in OMPI_COMM_WORLD_SIZE=1 'PMI_RANK=0 PMI_SIZE=1' 'PMIX_RANK=0 SLURM_STEP_NUM_TASKS=1' SLURM_STEP_NUM_TASKS=4; do
    env $signs "$mdm" models >out 2>err || fail "$signs: refused"
done
exit $bad
